package server

import (
	"fmt"
	"time"

	"tcpbench/internal/wire"
)

// Bounds are what others may order from a server by a header of 16 bytes. The zero value
// of each bounds nothing: a run knows what it orders from its own server.
type Bounds struct {
	// Connections is how many one source may have at a time: an IPv4 address, or an IPv6
	// network of 64 bits, which is what one host has.
	Connections int `json:"connections,omitempty"`
	// Rate is how many bytes of responses a second one source may order. It may order
	// those of one second at once.
	Rate uint64 `json:"rate,omitempty"`
	// Bytes is how many bytes of responses one connection may order in all.
	Bytes uint64 `json:"bytes,omitempty"`
	// Life is how long one connection may stay, the time after the client's FIN included
	// for which a script has the server not close.
	Life time.Duration `json:"life,omitempty"`
}

func (b *Bounds) check() error {
	switch {
	case b.Connections < 0:
		return fmt.Errorf("%d connections of one source: want 1 or more, or 0 for no bound", b.Connections)
	case b.Life < 0:
		return fmt.Errorf("a life of %v: want more than 0, or 0 for no bound", b.Life)
	}
	return nil
}

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

// tells reports whether the connection ends by words: the client understands them, and
// would not take them for a part of a response.
func (c *conn) tells() bool {
	return c.script.Refusals && refusals[c.end] != 0 && c.owed == 0
}

// tell sends the client why it is refused. What the socket does not take at once is left
// out: the client has not read what came before.
func (e *engine) tell(c *conn, fd int) {
	var room [wire.HeaderSize]byte
	n, _ := send(fd, refusals[c.end].Append(room[:0])) // it may be gone
	e.counters.written.Add(uint64(n))
}

// order books the responses that are due, as many as the bounds allow. If those are not
// all, it ends the connection, which still owes the others.
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
		e.setBeat(c, c.until)
	}
}

// mayWait decides about a connection that is refused: it may stay until its header is
// here, which tells whether the client understands why, as long as there is room.
func (e *engine) mayWait(c *conn) bool {
	return e.timeout > 0 && !e.server.cfg.Echo && c.socket.Fd() < e.ceiling+e.server.room &&
		(c.refused != ConnectionsExceeded || c.source != nil)
}

// depart is the end of a connection for its source.
func (e *engine) depart(c *conn) {
	if c.source != nil {
		e.server.sources.leave(c.source, c.refused == ConnectionsExceeded)
	}
}
