// Package epoll is a thin layer over epoll(7) for a loop that owns its thread: a poller, tokens that tell
// stale events from live ones, and a timing wheel.
//
// A load generator must know what each system call costs. Calls that cannot block use RawSyscall, which
// the Go scheduler does not see; the one that can block uses Syscall6, so the runtime can give the
// processor to others. Only Wake may be called concurrently.
package epoll

import (
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Events of a socket, as epoll_ctl(2) names them.
const (
	In    = unix.EPOLLIN
	Out   = unix.EPOLLOUT
	RDHup = unix.EPOLLRDHUP
	Err   = unix.EPOLLERR
	Hup   = unix.EPOLLHUP
	Edge  = unix.EPOLLET
)

// Token comes back with an event: a slot of the caller's, and the slot's generation when the descriptor
// was added. An event with another generation than the slot's belongs to a connection that is gone.
type Token struct {
	Slot       int32
	Generation uint32
}

// wakeToken marks the poller's own eventfd. Callers have no negative slots.
var wakeToken = Token{Slot: -1}

// Event is one ready descriptor.
type Event struct {
	Mask uint32
	Token
}

// Poller is one epoll instance with an eventfd to wake it.
type Poller struct {
	fd, wake int
	raw      []unix.EpollEvent
}

// NewPoller returns a poller that reports at most batch events at a time.
func NewPoller(batch int) (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("eventfd2", err)
	}
	p := &Poller{fd: fd, wake: wake, raw: make([]unix.EpollEvent, batch)}
	if errno := p.Add(wake, In, wakeToken); errno != 0 {
		_ = p.Close()
		return nil, os.NewSyscallError("epoll_ctl", errno)
	}
	return p, nil
}

// Close releases both descriptors.
func (p *Poller) Close() error {
	_ = unix.Close(p.wake)
	return os.NewSyscallError("close", unix.Close(p.fd))
}

// Wake makes the current or next Wait return. Any goroutine may call it.
func (p *Poller) Wake() {
	one := uint64(1)
	// It can only fail if the counter is full, and then Wait returns anyway.
	_, _ = unix.Write(p.wake, (*[8]byte)(unsafe.Pointer(&one))[:])
}

// Add watches fd.
func (p *Poller) Add(fd int, mask uint32, t Token) unix.Errno {
	e := unix.EpollEvent{Events: mask, Fd: t.Slot, Pad: int32(t.Generation)}
	_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(p.fd), unix.EPOLL_CTL_ADD, uintptr(fd), uintptr(unsafe.Pointer(&e)), 0, 0)
	return errno
}

// Wait waits for events until timeout has passed, not at all if it is zero or less. It returns how many
// events Event can read until the next Wait.
func (p *Poller) Wait(timeout time.Duration) (int, error) {
	ts := unix.NsecToTimespec(int64(max(timeout, 0)))
	var n uintptr
	var errno unix.Errno
	if timeout <= 0 {
		n, _, errno = unix.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.fd),
			uintptr(unsafe.Pointer(&p.raw[0])), uintptr(len(p.raw)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	} else {
		n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.fd),
			uintptr(unsafe.Pointer(&p.raw[0])), uintptr(len(p.raw)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	}
	switch errno {
	case 0:
		return int(n), nil
	case unix.EINTR:
		return 0, nil
	}
	return 0, os.NewSyscallError("epoll_pwait2", errno)
}

// Event returns the i-th event of the last Wait. ok is false for a wake-up, which it consumes.
func (p *Poller) Event(i int) (e Event, ok bool) {
	raw := &p.raw[i]
	e = Event{Mask: raw.Events, Token: Token{Slot: raw.Fd, Generation: uint32(raw.Pad)}}
	if e.Token != wakeToken {
		return e, true
	}
	var counter [8]byte
	_, _ = unix.Read(p.wake, counter[:])
	return e, false
}
