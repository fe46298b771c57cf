package server

import (
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// forgotten are the sockets that a script has the server never close: the peer has sent
// its FIN, the kernel has acknowledged it, and the socket stays in CLOSE_WAIT until the
// process ends (RFC 9293, section 3.3.2). Real servers come to it by a bug.
type forgotten struct {
	mu  sync.Mutex
	all []relic
}

// relic is one such socket.
type relic struct {
	fd     int
	until  int64 // as conn.until
	source *source
}

// forget leaves a socket unclosed by another descriptor, for gnet closes its own on a FIN.
// If descriptors are scarce it counts that, and is false.
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
	f.all = append(f.all, relic{again, c.until, c.source})
	return true
}

// release closes those whose life is over, or all if the server ends.
func (s *Server) release(now int64, all bool) {
	s.forgotten.mu.Lock()
	defer s.forgotten.mu.Unlock()
	s.forgotten.all = slices.DeleteFunc(s.forgotten.all, func(r relic) bool {
		if !all && (r.until == 0 || now < r.until) {
			return false
		}
		_ = unix.Close(r.fd) // there is nobody left to tell
		if r.source != nil {
			s.sources.leave(r.source, false)
		}
		return true
	})
}
