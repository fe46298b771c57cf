package sockets

import (
	"tcpbench/loadgen"
	"tcpbench/metrics"
)

// message is what a connection that is sending sends.
func (l *loop) message(slot int32) []byte {
	c := &l.conns[slot]
	if c.state == sendingHello {
		return l.Lifecycle.Hello.Request
	}
	return l.script.request(slot, c.further)
}

// readOnce reads what came while the request was being sent: no edge will tell of it.
func (l *loop) readOnce(slot int32, mask uint32) {
	if c := &l.conns[slot]; c.readable || mask&ended != 0 {
		c.readable = false
		l.onReceiving(slot, mask)
	}
}

// receive takes a piece of what the peer says. Done means that it has led to another state.
func (l *loop) receive(slot int32, mask uint32, chunk []byte, more bool) (done bool) {
	c := &l.conns[slot]
	hello := c.state == readingHello
	if !hello {
		if l.refused(slot, len(chunk)) {
			return true
		}
		if !l.replies.content.is(slot, chunk, c.measured) {
			l.finish(slot, metrics.StageExchange, metrics.Corrupted)
			return true
		}
	}
	c.heard = l.clock()
	pinged := !hello && l.Lifecycle.Beats(loadgen.ServerPings)
	if c.received == 0 && c.measured && !hello && !pinged {
		l.hist.record(firstByte, l.now-c.mark)
	}
	c.received += int64(len(chunk))
	if pinged {
		if done = c.received >= l.script.until.Bytes; done {
			l.onPings(slot, more)
		}
		return done
	}
	complete, outcome := l.complete(slot, chunk)
	switch {
	case complete && hello:
		// What comes together with the answer to the hello is part of it.
		if c.measured {
			l.hist.record(helloTime, l.now-c.mark)
		}
		l.clear(slot)
		l.ask(slot, mask)
		return true
	case complete:
		l.exchanged(slot, mask)
		return true
	}
	l.replies.ear.hear(slot, chunk)
	if outcome != metrics.Succeeded {
		l.finish(slot, stageOf[c.state], outcome)
		return true
	}
	return false
}

// complete tells whether all answers that are due are here with the bytes just read. The outcome is
// not Succeeded if more came than was asked for.
func (l *loop) complete(slot int32, chunk []byte) (bool, metrics.Outcome) {
	c, until := &l.conns[slot], &l.script.until
	switch {
	case c.state == readingHello:
		return l.replies.reached(slot, &l.script.hello, chunk, c.received, false)
	case until.Kind == loadgen.PeerFIN:
		return false, metrics.Succeeded
	case until.Kind == loadgen.Exactly:
		for c.received >= until.Bytes && c.pending > 0 {
			c.received -= until.Bytes
			l.answered(slot)
		}
		if c.pending == 0 && c.received > 0 {
			return false, metrics.Unexpected
		}
		return c.pending == 0, metrics.Succeeded
	}
	here, outcome := l.replies.reached(slot, until, chunk, c.received, c.pending > 1)
	for here {
		l.answered(slot)
		// Only a beat whose answer was late has another one before it.
		if here = c.pending > 0; here {
			c.received, here = l.replies.another(slot, until, c.received)
		}
	}
	return c.pending == 0, outcome
}

// answered notes that one response is complete.
func (l *loop) answered(slot int32) {
	c := &l.conns[slot]
	l.noteExchange(c)
	c.pending--
	c.missed = 0
	if b := l.Lifecycle.Beat; b != nil {
		l.report.Beats.Answered++
		// When the oldest of those unanswered was sent: the last was due an interval
		// before the next.
		c.mark = l.nextBeat(slot) - int64(b.Every)*int64(c.pending)
	}
}

// clear forgets what has come of an answer: it is complete, or nobody waits for it any more.
func (l *loop) clear(slot int32) {
	l.conns[slot].received = 0
	l.replies.forget(slot)
}

// nextBeat is the time of the connection's next beat: after now, by an interval at most.
func (l *loop) nextBeat(slot int32) int64 {
	return l.beats.Next(l.now, uint64(slot)<<32+uint64(l.conns[slot].generation))
}

// answerBy is the time by which the peer must have said something.
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

// missBeat notes that no answer came before the next beat, which is due.
func (l *loop) missBeat(slot int32, due int64) {
	c := &l.conns[slot]
	if l.Lifecycle.Beats(loadgen.ServerPings) {
		l.lose(slot, metrics.PeerSilent) // the server counts its own pings
		return
	}
	l.report.Beats.Missed++
	if c.missed++; int(c.missed) >= l.Lifecycle.Beat.Missed {
		l.lose(slot, metrics.PeerSilent)
		return
	}
	l.noteLag(slot, due)
	l.ask(slot, 0)
}

// onPings answers pings of the server: one or more have come.
func (l *loop) onPings(slot int32, more bool) {
	c := &l.conns[slot]
	l.settle(c)
	c.left = 0
	n := c.received / l.script.until.Bytes
	c.received %= l.script.until.Bytes
	// A server closes before it asks for more answers than it may miss. To one that goes on
	// asking the client does not answer without end.
	c.pending = uint16(min(int64(c.pending)+n, int64(l.Lifecycle.Beat.Missed)))
	c.readable = more
	if l.released {
		l.proceed(slot, 0)
		return
	}
	l.enter(slot, sending)
	l.onSending(slot, 0)
}

// pong notes that one ping is answered, and answers or awaits the next. Because the first one of a
// life may come anywhere in the interval, it waits half an interval longer than allowed.
func (l *loop) pong(slot int32, mask uint32) {
	c := &l.conns[slot]
	c.further = true
	if c.pending > 0 {
		c.pending--
	}
	if c.pending > 0 {
		l.onSending(slot, mask)
		return
	}
	b := l.Lifecycle.Beat
	l.enterUntil(slot, receiving, l.clock()+int64(b.Every)*int64(b.Missed)+int64(b.Every)/2)
	if c.readable || mask&ended != 0 {
		c.readable = false
		l.readLater(slot)
	}
}

// settle notes that a connection has had its first exchange, or has ended without one. When all of
// a population have, the hold can begin.
func (l *loop) settle(c *conn) {
	if l.HoldFor == 0 || c.left < l.script.exchanges {
		return
	}
	if l.populated++; l.populated == uint64(len(l.conns)) {
		l.events <- loopEvent{kind: loopPopulated, loop: l.id}
	}
}
