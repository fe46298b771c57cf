package sockets

import (
	"golang.org/x/sys/unix"

	"tcpbench/metrics"
)

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
