package sockets

import (
	"golang.org/x/sys/unix"

	"tcpbench/internal/epoll"
	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
	"tcpbench/metrics"
)

// ask sends the next request. Its clock starts before the first send(): on loopback that call
// takes the request to the server, so half of an exchange may be over when it returns.
func (l *loop) ask(slot int32, mask uint32) {
	c := &l.conns[slot]
	if l.clock(); c.pending == 0 {
		c.mark = l.now
	}
	l.enter(slot, sending)
	l.onSending(slot, mask)
}

// onSending writes what is left of the request.
func (l *loop) onSending(slot int32, mask uint32) {
	c := &l.conns[slot]
	request := l.request
	switch {
	case l.rotation != nil:
		request = l.rotation.request(slot)
	case c.again:
		request = l.Lifecycle.Again
	}
	whole, errno := push(c, request)
	if errno != 0 {
		l.lose(slot, outcomeOf(metrics.StageExchange, errno))
		return
	}
	if !whole {
		return // an edge comes when there is room
	}
	l.sentRequest(slot, mask)
}

// push writes what is left of a message, and tells whether all of it is in the kernel's
// hands.
func push(c *conn, message []byte) (whole bool, errno unix.Errno) {
	if int(c.sent) < len(message) {
		n, errno := send(int(c.fd), message[c.sent:])
		if errno != 0 && errno != unix.EAGAIN {
			return false, errno
		}
		c.sent += uint32(n) // none if there was no room
	}
	return int(c.sent) == len(message), 0
}

// sentRequest: a request is in the kernel's hands, whole.
func (l *loop) sentRequest(slot int32, mask uint32) {
	c := &l.conns[slot]
	if l.Lifecycle.Beats(loadgen.ServerPings) {
		l.sentPong(slot, mask)
		return
	}
	c.pending += l.perSend
	c.again, c.sent = true, 0
	l.rotation.done(slot)
	if l.Lifecycle.Beat != nil {
		l.beats.Sent++
	}
	if l.Lifecycle.CloseHow == wire.HalfClose && c.left <= uint32(c.pending) {
		// The last request, and then our FIN: the response comes to a half-closed socket.
		if errno := shutdownWrite(int(c.fd)); errno != 0 {
			l.fail(slot, metrics.StageExchange, errno)
			return
		}
	}
	if l.until.Kind == loadgen.Exactly && l.until.Bytes == 0 {
		l.exchanged(slot, mask)
		return
	}
	l.enterUntil(slot, receiving, l.answerBy(slot))
	if c.readable || mask&ended != 0 {
		c.readable = false
		l.onReceiving(slot, mask)
	}
}

// answerBy is the time by which the peer is to have said something.
func (l *loop) answerBy(slot int32) int64 {
	if l.Lifecycle.Beat == nil {
		return l.now + int64(l.Timeout)
	}
	next := l.nextBeat(slot)
	if l.conns[slot].left > 0 {
		// The first beat of a life is no beat yet: the next may be due in a moment.
		next += int64(l.Lifecycle.Beat.Every)
	}
	return next
}

// onReceiving reads until the response is whole.
func (l *loop) onReceiving(slot int32, mask uint32) {
	c := &l.conns[slot]
	for range readsPerEvent {
		n, errno := read(int(c.fd), l.buffer)
		switch {
		case errno == unix.EAGAIN:
			return
		case errno == unix.ECONNRESET && l.until.Kind == loadgen.PeerFIN && l.Lifecycle.CloseHow == wire.RST && l.responded(c):
			l.recordExchange(c)
			l.finish(slot, metrics.StageExchange, metrics.Succeeded)
			return
		case errno != 0:
			l.lose(slot, outcomeOf(metrics.StageExchange, errno))
			return
		case n == 0:
			l.peerClosed(slot)
			return
		case l.refused(slot, metrics.StageExchange, n):
			return
		case !l.content.is(slot, l.buffer[:n], c.measured):
			l.finish(slot, metrics.StageExchange, metrics.Corrupted)
			return
		}
		l.clock()
		if c.received == 0 && c.measured && !l.Lifecycle.Beats(loadgen.ServerPings) {
			l.hist.firstByte.Record(l.now - c.mark)
		}
		c.heard = l.now
		c.received += int64(n)
		if l.Lifecycle.Beats(loadgen.ServerPings) {
			if c.received >= l.until.Bytes {
				l.onPings(slot, n == len(l.buffer) || mask&ended != 0)
				return
			}
			if n < len(l.buffer) && mask&ended == 0 {
				return
			}
			continue
		}
		whole, outcome := l.whole(slot, l.buffer[:n])
		if whole {
			l.exchanged(slot, mask)
			return
		}
		l.ear.hear(slot, l.buffer[:n])
		if outcome != metrics.Succeeded {
			l.finish(slot, metrics.StageExchange, outcome)
			return
		}
		if n < len(l.buffer) && mask&ended == 0 {
			return
		}
	}
	l.readLater(slot)
}

// whole tells whether all that was asked for is here with the bytes just read.
func (l *loop) whole(slot int32, chunk []byte) (bool, metrics.Outcome) {
	c := &l.conns[slot]
	switch l.until.Kind {
	case loadgen.Exactly:
		for c.received >= l.until.Bytes && c.pending > 0 {
			c.received -= l.until.Bytes
			l.answered(slot)
		}
		if c.pending == 0 && c.received > 0 {
			return false, metrics.Unexpected
		}
		return c.pending == 0, metrics.Succeeded
	case loadgen.PeerFIN:
		return false, metrics.Succeeded
	}
	here, outcome := l.reached(slot, &l.until, chunk)
	for here {
		l.answered(slot)
		// Only a beat whose answer was late has another one before it.
		here = c.pending > 0 && l.another(slot, &l.until)
	}
	return c.pending == 0, outcome
}

// answered: one response is whole.
func (l *loop) answered(slot int32) {
	c := &l.conns[slot]
	l.recordExchange(c)
	c.pending--
	c.missed = 0
	if b := l.Lifecycle.Beat; b != nil {
		l.beats.Answered++
		// When the oldest of those unanswered was sent: the last was due an interval
		// before the next.
		c.mark = l.nextBeat(slot) - int64(b.Every)*int64(c.pending)
	}
}

func (l *loop) recordExchange(c *conn) {
	if !c.measured {
		return
	}
	if l.Lifecycle.Beat == nil {
		l.hist.exchange.Record(l.now - c.mark)
	} else {
		l.hist.heartbeat.Record(l.now - c.mark)
	}
}

// peerClosed: a FIN instead of more response.
func (l *loop) peerClosed(slot int32) {
	c := &l.conns[slot]
	switch {
	case l.until.Kind != loadgen.PeerFIN:
		l.lose(slot, metrics.ClosedEarly)
	case !l.responded(c):
		l.finish(slot, metrics.StageExchange, metrics.ClosedEarly)
	case l.Lifecycle.CloseHow == wire.RST:
		l.finish(slot, metrics.StageClose, metrics.Unexpected)
	default:
		l.clock()
		l.recordExchange(c)
		l.finish(slot, metrics.StageExchange, metrics.Succeeded)
	}
}

// responded is false when the peer took the request and said nothing: an end of the
// connection alone is no response.
func (l *loop) responded(c *conn) bool { return c.received > 0 || len(l.request) == 0 }

// exchanged: what was asked for is answered, or no answer is due.
func (l *loop) exchanged(slot int32, mask uint32) {
	c := &l.conns[slot]
	l.clear(slot)
	l.settle(c)
	c.left -= min(c.left, uint32(l.perSend))
	c.pending = 0
	l.proceed(slot, mask)
}

// proceed decides when the connection acts next, and does so at once if that is now.
func (l *loop) proceed(slot int32, mask uint32) {
	c := &l.conns[slot]
	at := l.now
	switch {
	case l.dismissed:
		c.leaving = true
	case l.Lifecycle.Beat != nil:
		at = l.nextBeat(slot)
	case c.left > 0:
		at = l.exchangeLimit.At(l.now + l.gap())
	case l.Lifecycle.Keep:
		c.leaving = true
		at = pace.Never
	default:
		c.leaving = true
		at += int64(l.Lifecycle.Hold)
	}
	if c.leaving && at != pace.Never {
		at = l.closeLimit.At(at)
	}
	if at > l.now {
		l.enterUntil(slot, resting, at)
		if mask&ended != 0 {
			l.onResting(slot, mask)
		}
		return
	}
	l.act(slot, mask)
}

// act does what the connection rested for.
func (l *loop) act(slot int32, mask uint32) {
	if l.conns[slot].leaving {
		l.leave(slot, mask)
		return
	}
	l.ask(slot, mask)
}

// onResting: nothing is due, so whatever comes is the peer's end or a surprise.
func (l *loop) onResting(slot int32, mask uint32) {
	if mask&(ended|epoll.In) == 0 {
		return
	}
	c := &l.conns[slot]
	n, errno := read(int(c.fd), l.buffer)
	switch {
	case errno == unix.EAGAIN:
	case errno != 0:
		l.lose(slot, outcomeOf(metrics.StageExchange, errno))
	case n == 0:
		l.lose(slot, metrics.ClosedEarly)
	case l.refused(slot, metrics.StageExchange, n):
	case c.leaving && l.Lifecycle.Beat != nil:
		// A beat that crossed the end of the run.
	default:
		l.ear.hear(slot, l.buffer[:n])
		l.finish(slot, metrics.StageExchange, metrics.Unexpected)
	}
}

// gap is the pause before the next exchange.
func (l *loop) gap() int64 {
	gap := int64(l.Lifecycle.Gap)
	if j := l.Lifecycle.Jitter; j > 0 && gap > 0 {
		gap += int64(float64(gap) * j * (2*l.random.Float64() - 1))
	}
	return gap
}

// lose ends a connection whose peer is gone, and notes how long it took to find out.
func (l *loop) lose(slot int32, outcome metrics.Outcome) {
	c := &l.conns[slot]
	// Who pings a listener hears nothing, be it alive or dead.
	if l.Lifecycle.Beat != nil && !l.Lifecycle.Beats(loadgen.ServerListens) && c.measured {
		l.hist.detect.Record(l.clock() - c.heard)
	}
	l.finish(slot, metrics.StageExchange, outcome)
}
