package loadgen

import (
	"errors"
	"fmt"
	"regexp"

	"golang.org/x/sys/unix"

	"tcpbench/metrics"
)

// Greeting is what client and server say once, before the first exchange: a password, a
// greeting that is only read, an upgrade to another protocol.
type Greeting struct {
	// Request is sent as soon as the connection is established. Empty means that the server
	// speaks first.
	Request []byte `json:"request,omitempty"`
	// Response tells when the answer is whole: AtLeast or Match.
	Response Until `json:"response"`
}

func (g *Greeting) validate() error {
	switch g.Response.Kind {
	case AtLeast:
		if g.Response.Bytes < 1 {
			return errors.New("a hello: want an answer of a byte or more")
		}
	case Match:
		if _, err := regexp.Compile(g.Response.Pattern); err != nil {
			return fmt.Errorf("end of the answer to the hello: %w", err)
		}
	default:
		return fmt.Errorf("a hello: its answer cannot end by %q, for the connection goes on", g.Response.Kind)
	}
	return nil
}

// onHailing writes what is left of the hello.
func (l *loop) onHailing(slot int32, mask uint32) {
	c := &l.conns[slot]
	whole, errno := push(c, l.Lifecycle.Hello.Request)
	if errno != 0 {
		l.finish(slot, metrics.StageHello, outcomeOf(metrics.StageExchange, errno))
		return
	}
	if !whole {
		return // an edge comes when there is room
	}
	c.sent = 0
	l.enter(slot, hearing)
	if c.readable || mask&ended != 0 {
		c.readable = false
		l.onHearing(slot, mask)
	}
}

// onHearing reads until the answer to the hello is whole, and begins the first exchange.
// What comes together with that answer is part of it.
func (l *loop) onHearing(slot int32, mask uint32) {
	c := &l.conns[slot]
	for range readsPerEvent {
		n, errno := read(int(c.fd), l.buffer)
		switch {
		case errno == unix.EAGAIN:
			return
		case errno != 0:
			l.finish(slot, metrics.StageHello, outcomeOf(metrics.StageExchange, errno))
			return
		case n == 0:
			l.finish(slot, metrics.StageHello, metrics.ClosedEarly)
			return
		}
		l.clock()
		c.heard = l.now
		c.received += int64(n)
		whole, outcome := l.reached(slot, &l.hello, l.buffer[:n])
		if whole {
			if c.measured {
				l.hist.hello.Record(l.now - c.mark)
			}
			l.clear(slot)
			l.ask(slot, mask)
			return
		}
		l.ear.hear(slot, l.buffer[:n])
		if outcome != metrics.Succeeded {
			l.finish(slot, metrics.StageHello, outcome)
			return
		}
		if n < len(l.buffer) && mask&ended == 0 {
			return
		}
	}
	l.readLater(slot)
}

// validateRaw looks at what is for foreign servers alone.
func (l Lifecycle) validateRaw() error {
	if l.Hello == nil && len(l.Rotation) == 0 {
		return nil
	}
	if l.ConnectOnly || l.Response.Kind == Exactly {
		return errors.New("a hello, and requests in rotation, are for a foreign server that is asked something")
	}
	for i := range l.Rotation {
		if err := l.Rotation[i].validate(); err != nil {
			return fmt.Errorf("request %d: %w", i+1, err)
		}
	}
	if l.Hello != nil {
		return l.Hello.validate()
	}
	return nil
}
