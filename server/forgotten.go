package server

import (
	"sync"

	"golang.org/x/sys/unix"
)

// forgotten are the sockets that a script has the server never close: the peer has sent
// its FIN, the kernel has acknowledged it, and the socket stays in CLOSE_WAIT until the
// process ends (RFC 9293, section 3.3.2). Real servers come to it by a bug.
type forgotten struct {
	mu  sync.Mutex
	fds []int
}

// keep holds the socket open by another descriptor, for gnet closes its own on a FIN.
func (f *forgotten) keep(fd int, scarce func(fd int) bool) bool {
	again, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return false
	}
	if scarce(again) {
		_ = unix.Close(again) // the socket has another descriptor
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fds = append(f.fds, again)
	return true
}

// release closes them all.
func (f *forgotten) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, fd := range f.fds {
		_ = unix.Close(fd) // there is nobody left to tell
	}
	f.fds = nil
}

// forget leaves a socket unclosed, or, where descriptors are scarce, counts that.
func (e *engine) forget(c *conn, fd int) {
	if !e.server.forgotten.keep(fd, e.scarce) {
		c.end = Descriptors
		resetOnClose(fd)
	}
}
