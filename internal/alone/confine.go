package alone

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Confine takes from the calling thread what each word says, in their order. The caller has locked the
// thread and executes a program next: filters, capabilities and users belong to a thread, and
// a program that is executed keeps those of its caller.
//
//	net.core.somaxconn=5  a sysctl, of the namespaces that the thread is in
//	read-only             /proc/sys is read-only, as in a container; in a mount namespace of its own
//	seccomp               no user or network namespace can be made, as under Docker's default filter
//	no-net-raw, …         a capability (no-net-admin, no-sys-admin) is gone, for root too
//	docker-capabilities   those that Docker does not give are gone
//	root=DIR              DIR is the root directory of a container; in mount and pid namespaces of its own
//	loopback              lo is up, in a network namespace of its own
//	uid=N                 the user and the group are N
func Confine(words []string) error {
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		err := errors.New("no such confinement")
		switch {
		case key == "root":
			err = enterRoot(value)
		case key == "uid":
			err = become(value)
		case value != "":
			err = os.WriteFile("/proc/sys/"+strings.ReplaceAll(key, ".", "/"), []byte(value), 0)
		case word == "read-only":
			err = readOnlySettings()
		case word == "loopback":
			err = bringLoopbackUp()
		case word == "seccomp":
			err = denyNamespaces()
		case word == "docker-capabilities":
			err = dropAllBut(dockers)
		case capabilities[word] != 0:
			err = unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(capabilities[word]), 0, 0, 0)
		}
		if err != nil {
			return fmt.Errorf("confine: %s: %w", word, err)
		}
	}
	return nil
}

var capabilities = map[string]int{"no-net-raw": unix.CAP_NET_RAW, "no-net-admin": unix.CAP_NET_ADMIN, "no-sys-admin": unix.CAP_SYS_ADMIN}

// dockers are the capabilities that Docker gives to a container by default.
var dockers = []int{
	unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FSETID, unix.CAP_FOWNER, unix.CAP_MKNOD, unix.CAP_NET_RAW, unix.CAP_SETGID,
	unix.CAP_SETUID, unix.CAP_SETFCAP, unix.CAP_SETPCAP, unix.CAP_NET_BIND_SERVICE, unix.CAP_SYS_CHROOT, unix.CAP_KILL, unix.CAP_AUDIT_WRITE,
}

func dropAllBut(kept []int) error {
	for c := range unix.CAP_LAST_CAP + 1 {
		if slices.Contains(kept, c) {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil && !errors.Is(err, unix.EINVAL) {
			return err // EINVAL is a capability that this kernel does not have
		}
	}
	return nil
}

func bringLoopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo)
}

// become changes user and group of the thread, and so gives up all capabilities.
func become(id string) error {
	n, err := strconv.Atoi(id)
	if err != nil {
		return err
	}
	// The wrappers of package unix change all threads, which a program with cgo must not.
	for _, call := range [][2]uintptr{{unix.SYS_SETGROUPS, 0}, {unix.SYS_SETGID, uintptr(n)}, {unix.SYS_SETUID, uintptr(n)}} {
		if _, _, errno := unix.RawSyscall(call[0], call[1], 0, 0); errno != 0 {
			return errno
		}
	}
	return nil
}

// denyNamespaces does what Docker's default filter does: no system call makes a user or network
// namespace, and clone3, whose arguments no filter can see, is not there.
func denyNamespaces() error {
	const number, firstArgument = 0, 16 // of struct seccomp_data
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	is := func(k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: yes, Jf: no, K: k}
	}
	answer := func(k uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k}
	}
	program := []unix.SockFilter{
		load(number),
		is(unix.SYS_CLONE3, 5, 0),
		is(unix.SYS_CLONE, 1, 0),
		is(unix.SYS_UNSHARE, 0, 2),
		load(firstArgument),
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: unix.CLONE_NEWUSER | unix.CLONE_NEWNET, Jt: 2},
		answer(unix.SECCOMP_RET_ALLOW),
		answer(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)),
		answer(unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)),
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&filter)), 0, 0)
}

func readOnlySettings() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return bindReadOnly("/proc/sys")
}

// bindReadOnly makes a directory read-only where it is.
func bindReadOnly(dir string) error {
	if err := unix.Mount(dir, dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	return unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}

// devices are those that every container has.
var devices = []string{"null", "zero", "full", "random", "urandom", "tty"}

// enterRoot makes a directory, read-only, the root of all that follows, with /proc and the devices
// that every container has. The root before is gone.
func enterRoot(dir string) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount(dir, dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	proc, dev := filepath.Join(dir, "proc"), filepath.Join(dir, "dev")
	for _, d := range []string{proc, dev} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	if err := unix.Mount("proc", proc, "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", dev, "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=755"); err != nil {
		return err
	}
	for _, name := range devices {
		at := filepath.Join(dev, name)
		f, err := os.Create(at)
		if err != nil {
			return err
		}
		f.Close()
		if err := unix.Mount("/dev/"+name, at, "", unix.MS_BIND, ""); err != nil {
			return err
		}
	}
	if err := unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		return err
	}
	// pivot_root(2): the old root may be put on top of the new one, and be detached there.
	if err := unix.Chdir(dir); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return err
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return err
	}
	return unix.Chdir("/")
}
