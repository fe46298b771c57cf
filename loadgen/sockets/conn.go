package sockets

import (
	"golang.org/x/sys/unix"

	"tcpbench/internal/epoll"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
	"tcpbench/metrics"
)

// conn is one slot of a loop's slab: 64 bytes without a pointer, so that the garbage
// collector has nothing to look at in a slab of any size.
type conn struct {
	due      int64 // when it was to start; in a free slot, since when it is free
	began    int64 // when connect() was called
	mark     int64 // before the first send() of the oldest unanswered request, or before our FIN
	received int64 // bytes of the response that has begun
	heard    int64 // when the peer last gave a sign of life
	fd       int32
	sent     uint32 // bytes of the request
	// generation counts the lives of the slot; it is part of the epoll token.
	generation uint32
	left       uint32 // exchanges that the script still holds
	pending    uint16 // requests sent and not answered
	missed     uint8  // beats in a row without an answer
	state      state
	measured   bool // it was due within the measured time
	readable   bool // data arrived while the request was still being sent
	further    bool // the first request has been sent
	leaving    bool // nothing is left to do but to close
}

// watched are the events of a connection, from its connect() to its end.
const watched = epoll.In | epoll.Out | epoll.RDHup | epoll.Edge

// ended is set in an event when the peer has sent its FIN or RST: then a short read does not mean
// that there is nothing more to learn.
const ended = epoll.RDHup | epoll.Hup | epoll.Err

// slab has the connections of a loop, one in each slot.
type slab struct {
	conns  []conn
	free   []int32       // a stack: a slot that is used again soon is still in the cache
	unread []epoll.Token // connections that may have more to read
	listed []bool        // by slot: it is in unread
}

func newSlab(slots uint64) slab {
	s := slab{conns: make([]conn, slots), free: make([]int32, slots), listed: make([]bool, slots)}
	for i := range s.free {
		s.free[i] = int32(len(s.free) - 1 - i)
	}
	return s
}

func (s *slab) inFlight() int { return len(s.conns) - len(s.free) }

// freeSince is the time since when the next free slot is free; pace.Never if none is.
func (s *slab) freeSince() int64 {
	if len(s.free) == 0 {
		return pace.Never
	}
	return s.conns[s.free[len(s.free)-1]].due
}

// token names the present connection of a slot.
func (s *slab) token(slot int32) epoll.Token {
	return epoll.Token{Slot: slot, Generation: s.conns[slot].generation}
}

// arrive takes a slot for a connection that was due.
func (l *loop) arrive(due int64, measured bool) {
	slot := l.free[len(l.free)-1]
	l.free = l.free[:len(l.free)-1]
	c := &l.conns[slot]
	*c = conn{due: due, fd: -1, generation: c.generation, left: l.script.exchanges, measured: measured}
	if measured {
		l.counts.attempted++
	}
	if l.OnExhausted == loadgen.WaitExhausted && l.arrivals.Backoff.Blocks(l.now) {
		l.park(slot)
		return
	}
	l.dial(slot)
}

// park lets an attempt wait for a free four-tuple.
func (l *loop) park(slot int32) {
	c := &l.conns[slot]
	if c.fd >= 0 {
		closeSocket(int(c.fd))
		c.fd = -1
	}
	if c.state != parked { // else it is in the queue
		l.enter(slot, parked)
		l.parked = append(l.parked, l.token(slot))
	}
}

// dial makes the socket and sends the SYN.
func (l *loop) dial(slot int32) {
	c := &l.conns[slot]
	s := l.tuples.turn()
	l.tried = s
	fd, errno := l.tuples.socket(s)
	if errno != 0 {
		l.fail(slot, metrics.StageSocket, errno)
		return
	}
	c.fd = int32(fd)
	c.began = l.clock()
	errno = connect(fd, s.target)
	returned := l.clock()
	switch {
	case errno == unix.EADDRNOTAVAIL && s.source == nil && sourceless(s.target):
		l.finish(slot, metrics.StageConnect, metrics.BadAddress)
		return
	case errno != 0 && errno != unix.EINPROGRESS:
		l.fail(slot, metrics.StageConnect, errno)
		return
	}
	l.noteDialled(c, returned)
	if errno := l.poller.Add(fd, watched, l.token(slot)); errno != 0 {
		l.fail(slot, metrics.StageConnect, errno)
		return
	}
	l.enter(slot, connecting)
}
