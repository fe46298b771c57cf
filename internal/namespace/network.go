// Package namespace makes network namespaces, and runs functions in them.
package namespace

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// current is the network namespace of the reading thread; /proc/self would be the first thread's.
const current = "/proc/thread-self/ns/net"

// Network is a network namespace. It exists as long as it is open or a process or socket is in it.
type Network struct {
	// Name is what errors call it.
	Name string
	file *os.File
}

// New makes a network namespace, as a child of parent or, if that is nil, of the caller's.
func New(name string, parent *Network) (*Network, error) {
	n := &Network{Name: name}
	done := make(chan error)
	Go(func() {
		if parent != nil {
			if err := parent.Enter(); err != nil {
				done <- err
				return
			}
		}
		err := os.NewSyscallError("unshare", unix.Unshare(unix.CLONE_NEWNET))
		if err == nil {
			n.file, err = os.Open(current)
		}
		done <- err
	})
	if err := <-done; err != nil {
		return nil, err
	}
	return n, nil
}

// Fd is the namespace as netlink takes it.
func (n *Network) Fd() int { return int(n.file.Fd()) }

// Enter moves the calling thread into the namespace. Call it only in a function that Go runs: the
// thread must never run anything else.
func (n *Network) Enter() error {
	if err := unix.Setns(n.Fd(), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the network namespace %s: %w", n.Name, os.NewSyscallError("setns", err))
	}
	return nil
}

// Do calls f on a thread in the namespace. What f opens stays in that namespace.
func (n *Network) Do(f func() error) error {
	done := make(chan error)
	Go(func() {
		err := n.Enter()
		if err == nil {
			err = f()
		}
		done <- err
	})
	return <-done
}

// Close lets go of the namespace. A second Close does nothing.
func (n *Network) Close() error {
	if err := n.file.Close(); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// Go starts a goroutine for f on a thread that runs nothing else and ends with f, so f may
// take it into another namespace for good.
func Go(f func()) {
	go func() {
		runtime.LockOSThread() // never unlocked, so the runtime ends the thread with the goroutine
		if unix.Gettid() != unix.Getpid() {
			f()
			return
		}
		// The first thread of a process never ends: it would stay where f takes it, and keep that
		// namespace alive. f gets another thread while this goroutine occupies the first.
		defer runtime.UnlockOSThread()
		running := make(chan struct{})
		Go(func() {
			close(running)
			f()
		})
		<-running
	}()
}

// Inode is the number of the calling thread's network namespace, by which the kernel tells
// namespaces apart.
func Inode() (uint32, error) {
	var s unix.Stat_t
	if err := unix.Stat(current, &s); err != nil {
		return 0, fmt.Errorf("%s: %w", current, os.NewSyscallError("stat", err))
	}
	return uint32(s.Ino), nil
}

// Users starts a process as root of a user namespace of its own, which dies with the thread that
// has started it.
func Users() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
}
