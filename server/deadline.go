package server

import "github.com/panjf2000/gnet/v2"

// link makes a connection an element of a list of deadlines.
type link struct {
	prev, next *conn
	since      int64 // the tick in which the wait began
	armed      bool
	moved      bool // to its own goroutine, which counts its end
	socket     gnet.Conn
	id         int32 // its place in the slab
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
