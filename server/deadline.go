package server

import (
	"context"
	"time"

	"github.com/panjf2000/gnet/v2"
)

// link makes a connection an element of a list of deadlines.
type link struct {
	prev, next *conn
	since      int64 // the tick in which the wait began
	armed      bool
	moved      bool // to its own goroutine, which counts its end
	socket     gnet.Conn
}

// waits are the connections in timed states, the longest wait first. All waits
// are equally long, so appending keeps the order and every operation is O(1): no
// timer and no heap.
type waits struct {
	first, last *conn
}

// begin puts c at the end of the list, from wherever it is.
func (w *waits) begin(c *conn, now int64) {
	w.end(c)
	c.armed, c.since = true, now
	c.prev = w.last
	if w.last != nil {
		w.last.next = c
	} else {
		w.first = c
	}
	w.last = c
}

func (w *waits) end(c *conn) {
	if !c.armed {
		return
	}
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		w.first = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		w.last = c.prev
	}
	c.prev, c.next, c.armed = nil, nil, false
}

// ticksPerTimeout is how finely waits are measured: they end up to an eighth too
// late, and never too early.
const ticksPerTimeout = 8

// tickOf returns the pause between two ticks, an hour if there is nothing to time.
func tickOf(timeout time.Duration) time.Duration {
	if timeout <= 0 {
		return time.Hour
	}
	return (timeout + ticksPerTimeout - 1) / ticksPerTimeout
}

// OnTick runs on a goroutine of its own: it moves the clock and asks the loop to
// sweep.
func (e *engine) OnTick() (time.Duration, gnet.Action) {
	e.upOnce.Do(func() { close(e.up) })
	e.ticks.Add(1)
	// A sweep that waits for its turn need not wait twice. No connection so far,
	// no loop to call and nothing to sweep. gnet ends this goroutine before it
	// closes the loop's eventfd, so the call cannot reach a foreign descriptor.
	if loop := e.loop.Load(); loop != nil && e.timeout > 0 && !e.sweeping.Swap(true) {
		if (*loop).Execute(context.Background(), e) != nil {
			e.sweeping.Store(false)
		}
	}
	return tickOf(e.timeout), gnet.None
}

// now counts time in ticks: no connection pays for a look at the clock, and a
// tick that comes late makes nobody's wait shorter.
func (e *engine) now() int64 { return e.ticks.Load() }

// Run sweeps: it ends the waits that are over. It runs on the loop, by Execute.
func (e *engine) Run(context.Context) error {
	e.sweeping.Store(false)
	loop := *e.loop.Load()
	// The tick in which a wait began was partly over, and does not count.
	over := e.now() - ticksPerTimeout - 1
	for c := e.waits.first; c != nil && c.since <= over; c = e.waits.first {
		e.waits.end(c)
		c.expire()
		// An error is the kernel's about a descriptor that is closed all the same.
		_ = loop.Close(c.socket)
	}
	return nil
}
