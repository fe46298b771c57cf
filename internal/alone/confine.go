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

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Confine restricts the calling thread as each word says, in their order. The caller has locked the
// thread and executes a program next, which keeps the thread's filters, capabilities and user.
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

// dockers are the capabilities of a container of Docker by default.
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
			return err // EINVAL: this kernel does not have that capability
		}
	}
	return nil
}

func bringLoopbackUp() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// become changes user and group of the thread, which loses all capabilities.
func become(id string) error {
	n, err := strconv.Atoi(id)
	if err != nil {
		return err
	}
	// Package unix would change all threads, which a program with cgo must not.
	for _, call := range [][2]uintptr{{unix.SYS_SETGROUPS, 0}, {unix.SYS_SETGID, uintptr(n)}, {unix.SYS_SETUID, uintptr(n)}} {
		if _, _, errno := unix.RawSyscall(call[0], call[1], 0, 0); errno != 0 {
			return errno
		}
	}
	return nil
}

// denyNamespaces does as Docker's default filter: no system call makes a user or network namespace,
// and clone3, whose arguments no filter can see, does not exist.
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

// mount is the arguments of mount(2).
type mount struct {
	source, target, kind string
	flags                uintptr
	data                 string
}

func mountAll(all ...mount) error {
	for _, m := range all {
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	return nil
}

// private keeps mounts that follow from other mount namespaces.
var private = mount{target: "/", flags: unix.MS_REC | unix.MS_PRIVATE}

const safe = unix.MS_NOSUID | unix.MS_NOEXEC

func readOnlySettings() error {
	const dir = "/proc/sys"
	return mountAll(private,
		mount{source: dir, target: dir, flags: unix.MS_BIND | unix.MS_REC},
		mount{target: dir, flags: unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY | safe | unix.MS_NODEV})
}

// enterRoot makes a directory, read-only, the root of all that follows, with /proc and the devices
// that every container has. The old root is gone.
func enterRoot(dir string) error {
	proc, dev := filepath.Join(dir, "proc"), filepath.Join(dir, "dev")
	if err := mountAll(private, mount{source: dir, target: dir, flags: unix.MS_BIND | unix.MS_REC}); err != nil {
		return err
	}
	if err := errors.Join(os.MkdirAll(proc, 0o755), os.MkdirAll(dev, 0o755)); err != nil {
		return err
	}
	if err := mountAll(mount{"proc", proc, "proc", safe | unix.MS_NODEV, ""}, mount{"tmpfs", dev, "tmpfs", safe, "mode=755"}); err != nil {
		return err
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		at := filepath.Join(dev, name)
		if err := os.WriteFile(at, nil, 0o666); err != nil {
			return err
		}
		if err := mountAll(mount{source: "/dev/" + name, target: at, flags: unix.MS_BIND}); err != nil {
			return err
		}
	}
	if err := mountAll(mount{target: dir, flags: unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY}); err != nil {
		return err
	}
	// pivot_root(2): the old root may be put on top of the new one, and be detached there.
	for _, step := range []func() error{
		func() error { return unix.Chdir(dir) },
		func() error { return unix.PivotRoot(".", ".") },
		func() error { return unix.Unmount(".", unix.MNT_DETACH) },
		func() error { return unix.Chdir("/") },
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
