package lab

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"tcpbench/internal/machine"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Host is one end of a lab: a network namespace.
type Host struct {
	// Name is client or server.
	Name string
	// V4 and V6 are its address in each family. V6 is the zero Addr if the kernel has no IPv6.
	V4, V6 netip.Addr
	// Sources are further addresses of it, of IPv4.
	Sources []netip.Addr

	namespace *os.File
}

// Enter moves the calling thread into the host's namespace. Call it only in a function that
// Go runs: the thread must never run anything else.
func (h *Host) Enter() error {
	if err := unix.Setns(int(h.namespace.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the lab's %s: %w", h.Name, os.NewSyscallError("setns", err))
	}
	return nil
}

// Do calls f on a thread in the host's namespace. What f opens stays in that namespace.
func (h *Host) Do(f func() error) error {
	done := make(chan error)
	Go(func() {
		err := h.Enter()
		if err == nil {
			err = f()
		}
		done <- err
	})
	return <-done
}

// handle opens a netlink socket in the host's namespace. netlink.NewHandleAt would have to
// bring its thread back, which root of a user namespace may not do.
func (h *Host) handle() (n *netlink.Handle, err error) {
	err = h.Do(func() error {
		n, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	return n, refused(StepSocket, err)
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

// newNamespace makes a network namespace that lives as long as the file is open: a child of
// parent's, or of the caller's if that is nil.
func newNamespace(parent *Host) (*os.File, error) {
	type made struct {
		file *os.File
		err  error
	}
	done := make(chan made)
	Go(func() {
		if parent != nil {
			if err := parent.Enter(); err != nil {
				done <- made{nil, err}
				return
			}
		}
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- made{nil, os.NewSyscallError("unshare", err)}
			return
		}
		f, err := os.Open("/proc/thread-self/ns/net") // /proc/self would be the first thread's
		done <- made{f, err}
	})
	m := <-done
	return m.file, m.err
}

// tables makes a namespace whose children have a table of TCP sockets of their own, as large as
// the machine's, so that the kernel's defaults that follow from its size stay the same. In the
// machine's table a census, and the end of a lab, walk over the sockets of all namespaces. Kernels
// before 6.1, and a /proc/sys that cannot be written, leave it at the machine's table.
func tables() (*Host, error) {
	f, err := newNamespace(nil)
	if err != nil {
		return nil, err
	}
	h := &Host{Name: "parent", namespace: f}
	return h, h.Do(func() error {
		text, err := os.ReadFile(machine.File("net.ipv4.tcp_ehash_entries"))
		if err != nil {
			return nil // an old kernel
		}
		size := strings.TrimLeft(strings.TrimSpace(string(text)), "-") // negative: it is shared
		_ = os.WriteFile(machine.File("net.ipv4.tcp_child_ehash_entries"), []byte(size), 0)
		return nil
	})
}
