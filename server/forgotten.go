package server

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// forgotten are the sockets, by descriptor, that a script has the server never close: the peer
// has sent its FIN, the kernel has acknowledged it, and the socket stays in CLOSE_WAIT until the
// process ends (RFC 9293, section 3.3.2). Real servers do that by a bug.
type forgotten struct {
	mu  sync.Mutex
	all map[int]*source
}

// forget keeps a socket open by another descriptor, because gnet closes its own on a FIN. If
// descriptors are scarce it counts that, and returns false.
func (e *engine) forget(c *conn, fd int) bool {
	again, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil || e.scarce(again) {
		if err == nil {
			_ = unix.Close(again) // the socket has another descriptor
		}
		c.end = Descriptors
		resetOnClose(fd)
		return false
	}
	f := &e.server.forgotten
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all[again] = c.source
	if c.until != 0 {
		time.AfterFunc(time.Duration(c.until-e.clock()), func() { e.server.release(again) })
	}
	return true
}

// release closes a forgotten socket whose life is over.
func (s *Server) release(fd int) {
	s.forgotten.mu.Lock()
	defer s.forgotten.mu.Unlock()
	source, ok := s.forgotten.all[fd]
	if !ok { // releaseAll was faster
		return
	}
	delete(s.forgotten.all, fd)
	_ = unix.Close(fd) // there is nobody to report an error to
	if source != nil {
		s.sources.leave(source, false)
	}
}

// releaseAll closes the forgotten sockets of a server that ends.
func (s *Server) releaseAll() {
	s.forgotten.mu.Lock()
	defer s.forgotten.mu.Unlock()
	for fd := range s.forgotten.all {
		_ = unix.Close(fd)
	}
	clear(s.forgotten.all)
}
