package probe

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// capabilities is a set with a bit for each, as in /proc/self/status.
type capabilities uint64

func of(capability int) capabilities { return 1 << capability }

// needed are the capabilities to make a lab, in its user namespace.
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

// facts decide whether this process may make a lab. They are read after a refusal, to explain it.
type facts struct {
	root            bool // the process is user 0 of its user namespace
	capabilities    capabilities
	filtered        bool // the process has a seccomp filter
	chrooted        bool // its root directory is not that of its mount namespace
	users, networks bool // the kernel has such namespaces
	sysctls         map[string]string
}

// The settings that can forbid a lab.
const (
	maxUsers      = "user.max_user_namespaces"
	maxNetworks   = "user.max_net_namespaces"
	unprivileged  = "kernel.unprivileged_userns_clone"             // of Debian
	appArmor      = "kernel.apparmor_restrict_unprivileged_userns" // of Ubuntu since 23.10
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

// readCapabilities reads the effective capabilities; none without /proc.
func readCapabilities() capabilities {
	set, _ := strconv.ParseUint(status("CapEff"), 16, 64)
	return capabilities(set)
}

// status reads a field of proc_pid_status(5); empty if it is missing.
func status(field string) string {
	text, _ := os.ReadFile("/proc/thread-self/status")
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// rootIsMounted tells whether a mount point at / is visible. In a chroot there is none: mounts above
// its directory are invisible.
func rootIsMounted() bool {
	text, err := os.ReadFile("/proc/thread-self/mountinfo")
	if err != nil {
		return true // unknown, and a chroot is rare
	}
	for line := range strings.Lines(string(text)) {
		// proc_pid_mountinfo(5): the fifth field is the mount point.
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

// missing returns the capabilities that the process lacks.
func (f *facts) missing(among capabilities) capabilities { return among &^ f.capabilities }

// is tells whether a setting has this value.
func (f *facts) is(key, value string) bool { return f.sysctls[key] == value }

// said is a sentence with the value of a setting.
func (f *facts) said(key string) string {
	value, ok := f.sysctls[key]
	if !ok {
		return fmt.Sprintf("%s cannot be read", key)
	}
	return fmt.Sprintf("%s is %s", key, value)
}
