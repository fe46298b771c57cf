package sockets

import (
	"golang.org/x/sys/unix"

	"tcpbench/internal/epoll"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
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
	c.sent, c.received, c.pending, c.missed = 0, 0, 0, 0
	c.readable, c.again, c.leaving = false, false, false
	c.left = l.exchanges
	if measured {
		l.attempted++
	}
	if l.OnExhausted == loadgen.WaitExhausted && l.gate.Holds(l.now) {
		l.hold(slot)
		return
	}
	l.connect(slot)
}

// connect makes the socket and sends the SYN.
func (l *loop) connect(slot int32) {
	c := &l.conns[slot]
	s := l.nextSpace()
	l.tried = s
	fd, errno := socket(s.target.family, l.protocol)
	if errno != 0 {
		l.fail(slot, metrics.StageSocket, errno)
		return
	}
	c.fd = int32(fd)
	if errno = l.apply(fd, s.target.family); errno == 0 && s.source != nil {
		errno = l.bind(fd, s)
	}
	if errno != 0 {
		l.fail(slot, metrics.StageSocket, errno)
		return
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
	l.gate.Open(returned)
	l.endSpell(returned)
	if c.measured {
		l.hist.connectCall.Record(returned - c.began)
		l.calls.Made++
		l.calls.NS += returned - c.began
		if l.upperHalf.Load() {
			l.hist.connectCallUpper.Record(returned - c.began)
		}
		l.hist.scheduleLag.Record(c.began - c.due)
	}
	if l.Process == pace.Bursts {
		l.noteIssue(c)
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

// portTries is how many ports in a row may be taken before an attempt with explicit ports counts
// as one without a port: those of a run a minute ago are in TIME_WAIT.
const portTries = 64

// bind takes the source address and, where ports are explicit, the port.
func (l *loop) bind(fd int, s *space) unix.Errno {
	switch {
	case l.Options.FixedPorts:
		a, errno := *s.source, unix.Errno(0)
		for range portTries {
			a.setPort(l.nextPort(s))
			if errno = bind(fd, &a); errno != unix.EADDRINUSE {
				break
			}
		}
		return errno
	case !l.Options.TakePort:
		// Without this option bind() takes the port from all destinations (ip(7)).
		if errno := setInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); errno != 0 {
			return errno
		}
	}
	return bind(fd, s.source)
}

// nextPort counts through the ports of a four-tuple space. A space that several loops
// share is counted by each from a port of its own.
func (l *loop) nextPort(s *space) uint16 {
	low, high := l.Options.PortRange[0], l.Options.PortRange[1]
	size := high - low + 1
	if s.port == 0 {
		s.port = low + size*l.Place(l.id)/l.Places()
	} else if s.port++; s.port > high {
		s.port = low
	}
	return uint16(s.port)
}

// noteIssue notes when the connections of one burst were really issued.
func (l *loop) noteIssue(c *conn) {
	last := len(l.bursts) - 1
	if last < 0 || l.bursts[last].Due != c.due {
		l.bursts = append(l.bursts, metrics.Burst{Due: c.due, First: c.began})
		last++
	}
	l.bursts[last].Count++
	l.bursts[last].Last = c.began
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
