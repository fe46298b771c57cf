package loadgen

import (
	"golang.org/x/sys/unix"

	"tcpbench/internal/epoll"
	"tcpbench/metrics"
)

// watched are the events of a connection, from its connect() to its end.
const watched = epoll.In | epoll.Out | epoll.RDHup | epoll.Edge

// arrive takes a slot for a connection that was due.
func (l *loop) arrive(due int64, measured bool) {
	slot := l.freeSlots[len(l.freeSlots)-1]
	l.freeSlots = l.freeSlots[:len(l.freeSlots)-1]
	c := &l.conns[slot]
	c.due, c.measured, c.fd = due, measured, -1
	c.sent, c.received, c.readable = 0, 0, false
	if measured {
		l.attempted++
	}
	if l.OnExhausted == WaitExhausted && l.gate.holds(l.now) {
		l.hold(slot)
		return
	}
	l.connect(slot)
}

// connect makes the socket and sends the SYN.
func (l *loop) connect(slot int32) {
	c := &l.conns[slot]
	s := l.nextSpace()
	fd, errno := socket(s.target.family)
	if errno != 0 {
		l.fail(slot, metrics.StageSocket, errno)
		return
	}
	c.fd, c.loop = int32(fd), s.loop
	if s.source != nil {
		// Without this option bind() would take the port from all destinations (ip(7)).
		errno = setInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
		if errno == 0 {
			errno = bind(fd, s.source)
		}
		if errno != 0 {
			l.fail(slot, metrics.StageSocket, errno)
			return
		}
	}
	c.began = l.clock()
	errno = connect(fd, s.target)
	returned := l.clock()
	if errno != 0 && errno != unix.EINPROGRESS {
		if errno == unix.EADDRNOTAVAIL && s.source == nil && sourceless(s.target) {
			l.finish(slot, metrics.StageConnect, metrics.BadAddress)
			return
		}
		l.fail(slot, metrics.StageConnect, errno)
		return
	}
	l.syns++
	l.gate.open(returned)
	if c.measured {
		l.hist.connectCall.Record(returned - c.began)
		l.hist.scheduleLag.Record(c.began - c.due)
	}
	if !l.open {
		c.due = c.began // a closed loop has no intended time to count from
	}
	if errno := l.poller.Add(fd, watched, epoll.Token{Slot: slot, Generation: c.generation}); errno != 0 {
		l.fail(slot, metrics.StageConnect, errno)
		return
	}
	l.enter(slot, connecting)
}

// hold keeps an attempt for which there was no four-tuple until there may be one.
func (l *loop) hold(slot int32) {
	c := &l.conns[slot]
	if c.fd >= 0 {
		closeSocket(int(c.fd))
		c.fd = -1
	}
	if c.state != waiting { // else it is in the queue
		l.enter(slot, waiting)
		l.queue = append(l.queue, epoll.Token{Slot: slot, Generation: c.generation})
	}
}
