package server

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"tcpbench/internal/wire"
)

// refusals are the reasons that a client is told, if it understands them.
var refusals = [nreasons]wire.Refusal{
	Descriptors:         wire.NoDescriptors,
	ConnectionsExceeded: wire.TooManyConnections,
	RateExceeded:        wire.TooFast,
	BytesExceeded:       wire.TooManyBytes,
	LifeExceeded:        wire.TooLong,
	RequestTooLarge:     wire.TooLarge,
	ResponseTooLarge:    wire.TooLarge,
}

// tells reports whether the client is told why the connection ends: it understands a refusal,
// and does not take it for a part of a response.
func (c *conn) tells() bool {
	return c.script.Refusals && refusals[c.end] != 0 && c.owed == 0
}

// tell sends the client why it is refused. What the socket does not take at once is left out:
// the client has not read what came before.
func (e *engine) tell(c *conn, fd int) {
	var room [wire.HeaderSize]byte
	n, _ := send(fd, refusals[c.end].Append(room[:0])) // it may be gone
	e.counters.written.Add(uint64(n))
}

// order books the responses that are due, as many as the bounds allow. If those are not all, it
// ends the connection, which still owes the others.
func (e *engine) order(c *conn, d due) due {
	size := uint64(c.script.ResponseSize)
	if !e.bounded || d.exchanges == 0 || size == 0 {
		return d
	}
	b, fit := &e.server.cfg.Bounds, d.exchanges
	if b.Bytes > 0 {
		if fit = min(fit, (b.Bytes-c.ordered)/size); fit < d.exchanges {
			c.lose(BytesExceeded)
		}
	}
	if b.Rate > 0 {
		if n := e.server.sources.order(c.source, size, fit); n < fit {
			fit = n
			c.lose(RateExceeded)
		}
	}
	c.ordered += fit * size
	d.exchanges, d.bytes = fit, fit*size
	return d
}

// enter counts a connection that was just accepted for its source, and bounds its life.
func (e *engine) enter(c *conn) {
	b := &e.server.cfg.Bounds
	if b.Connections > 0 || b.Rate > 0 {
		if !e.server.sources.enter(c, sourceOf(c.socket.RemoteAddr())) {
			c.refused = ConnectionsExceeded
		}
	}
	if b.Life > 0 {
		c.until = e.clock() + int64(b.Life)
		e.wakeAt(c, c.until)
	}
}

// mayWait reports whether a connection that is refused may stay until its header is here, which
// says whether the client understands why. It may while there is room.
func (e *engine) mayWait(c *conn) bool {
	return e.timeout > 0 && !e.server.cfg.Echo && c.socket.Fd() < e.ceiling+e.server.room &&
		(c.refused != ConnectionsExceeded || c.source != nil)
}

// depart ends a connection for its source.
func (e *engine) depart(c *conn) {
	if c.source != nil {
		e.server.sources.leave(c.source, c.refused == ConnectionsExceeded)
	}
}

// source is one address from which clients connect. The lock of sources guards it.
type source struct {
	addr netip.Addr
	// connections is how many it has, and refused how many of them only wait to be told so.
	connections, refused int
	// paid is the time until which the bytes that it has ordered would keep it busy at its
	// highest rate. It is never more than a second ahead.
	paid    time.Time
	leaving bool // forget is about to look at it
}

// sources are all that have a connection, or have ordered something within the last second.
type sources struct {
	bounds *Bounds
	mu     sync.Mutex
	of     map[netip.Addr]*source
}

// refusedRoom bounds the connections of one source that only wait to be told that they are
// refused.
const refusedRoom = 16

func newSources(b *Bounds) *sources {
	return &sources{bounds: b, of: map[netip.Addr]*source{}}
}

// enter counts a connection and gives it its source. It returns false if the source has as many
// as it may; the connection then has a source only if there is room for it to wait.
func (s *sources) enter(c *conn, addr netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	src := s.of[addr]
	if src == nil {
		src = &source{addr: addr}
		s.of[addr] = src
	}
	over := s.bounds.Connections > 0 && src.connections-src.refused >= s.bounds.Connections
	if over {
		if src.refused == refusedRoom {
			return false
		}
		src.refused++
	}
	src.connections++
	c.source = src
	return !over
}

// leave counts the end of a connection.
func (s *sources) leave(src *source, refused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	src.connections--
	if refused {
		src.refused--
	}
	s.forget(src, time.Second)
}

// forget forgets a source later if it is gone then and owes nothing.
func (s *sources) forget(src *source, later time.Duration) {
	if src.connections > 0 || src.leaving {
		return
	}
	src.leaving = true
	time.AfterFunc(later, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		src.leaving = false
		if owes := time.Until(src.paid); owes > 0 {
			s.forget(src, owes)
		} else if src.connections == 0 {
			delete(s.of, src.addr)
		}
	})
}

// order books as many of n responses as the rate allows, and returns how many.
func (s *sources) order(src *source, size, n uint64) uint64 {
	each := float64(size) / float64(s.bounds.Rate) * float64(time.Second)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if src.paid.Before(now) {
		src.paid = now
	}
	room := time.Second - src.paid.Sub(now)
	fit := min(n, uint64(float64(room)/each))
	src.paid = src.paid.Add(time.Duration(float64(fit) * each))
	return fit
}

// sourceOf is the source that connections from an address count for.
func sourceOf(remote net.Addr) netip.Addr {
	addr := netip.Addr{}
	if tcp, ok := remote.(*net.TCPAddr); ok {
		addr, _ = netip.AddrFromSlice(tcp.IP) // of 4 or 16 bytes
	}
	if addr = addr.Unmap(); addr.Is6() {
		network, _ := addr.Prefix(64) // no IPv6 address is too short for it
		return network.Addr()
	}
	return addr
}
