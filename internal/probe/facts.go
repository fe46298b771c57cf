package probe

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// capabilities is a set of them, a bit for each as in /proc/self/status.
type capabilities uint64

func of(capability int) capabilities { return 1 << capability }

// needed are the privileges that a lab takes, in the user namespace in which it is made.
const needed = capabilities(1<<unix.CAP_SYS_ADMIN | 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_RAW)

func (c capabilities) String() string {
	var names []string
	for _, k := range []struct {
		name string
		is   int
	}{{"CAP_SYS_ADMIN", unix.CAP_SYS_ADMIN}, {"CAP_NET_ADMIN", unix.CAP_NET_ADMIN}, {"CAP_NET_RAW", unix.CAP_NET_RAW}} {
		if c&of(k.is) != 0 {
			names = append(names, k.name)
		}
	}
	return strings.Join(names, ", ")
}

// facts are what decides whether the kernel lets this process make a lab. They are read only
// after it has refused, to say why.
type facts struct {
	// root tells that the process is user 0 of its user namespace.
	root         bool
	capabilities capabilities
	// filtered tells that a seccomp filter stands before the system calls.
	filtered bool
	// chrooted tells that the root directory is not that of the mount namespace.
	chrooted bool
	// users and networks tell whether the kernel has such namespaces.
	users, networks bool
	// sysctls are those of deciding, as far as this kernel has them.
	sysctls map[string]string
}

// The settings that forbid a lab, or parts of it.
const (
	maxUsers      = "user.max_user_namespaces"
	maxNetworks   = "user.max_net_namespaces"
	unprivileged  = "kernel.unprivileged_userns_clone"             // Debian and its kin
	appArmor      = "kernel.apparmor_restrict_unprivileged_userns" // Ubuntu since 23.10
	modulesLocked = "kernel.modules_disabled"
)

func readFacts() *facts {
	f := &facts{root: os.Geteuid() == 0, capabilities: readCapabilities(), sysctls: map[string]string{}}
	f.filtered = status("Seccomp") == "2"
	f.chrooted = !rootIsMounted()
	f.users, f.networks = has("/proc/self/ns/user"), has("/proc/self/ns/net")
	for _, key := range []string{maxUsers, maxNetworks, unprivileged, appArmor, modulesLocked} {
		if text, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(key, ".", "/")); err == nil {
			f.sysctls[key] = strings.TrimSpace(string(text))
		}
	}
	return f
}

// readCapabilities reads those in effect; without /proc there are none.
func readCapabilities() capabilities {
	set, _ := strconv.ParseUint(status("CapEff"), 16, 64)
	return capabilities(set)
}

// status reads a field of proc_pid_status(5), or nothing.
func status(field string) string {
	text, _ := os.ReadFile("/proc/thread-self/status")
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// rootIsMounted tells whether a file system is mounted at /, as seen from here. In a chroot
// to a directory there is none: the mounts above it cannot be seen.
func rootIsMounted() bool {
	text, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return true // not known, and a chroot is rare
	}
	for line := range strings.Lines(string(text)) {
		// proc_pid_mountinfo(5): the fifth field is the place.
		if fields := strings.Fields(line); len(fields) > 4 && fields[4] == "/" {
			return true
		}
	}
	return false
}

func has(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// missing are the privileges that the process lacks among these.
func (f *facts) missing(among capabilities) capabilities { return among &^ f.capabilities }

// is tells whether a setting has this value.
func (f *facts) is(key, value string) bool { return f.sysctls[key] == value }

// said is a setting with its value.
func (f *facts) said(key string) string {
	value, ok := f.sysctls[key]
	if !ok {
		return fmt.Sprintf("%s cannot be read", key)
	}
	return fmt.Sprintf("%s is %s", key, value)
}
