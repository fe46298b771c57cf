package sockets

import (
	"math/bits"

	"tcpbench/internal/random"
	"tcpbench/loadgen"
	"tcpbench/metrics"
)

// nextBeat is the time of the connection's next beat: after now, by an interval at most.
func (l *loop) nextBeat(slot int32) int64 {
	every, phase := int64(l.Lifecycle.Beat.Every), l.phase(slot)
	return phase + (l.now-phase+every)/every*every
}

// phase is the place of a connection's beats in the interval, in nanoseconds. A random one
// needs no memory: it is the number that belongs to this life of the slot in the loop's stream.
func (l *loop) phase(slot int32) int64 {
	b := l.Lifecycle.Beat
	if b.Aligned {
		return 0
	}
	number := random.Mixed(l.phases + uint64(slot)<<32 + uint64(l.conns[slot].generation))
	phase, _ := bits.Mul64(number, uint64(b.Every))
	return int64(phase)
}

// onMissed: an answer has not come before the next beat, which is due.
func (l *loop) onMissed(slot int32, due int64) {
	c := &l.conns[slot]
	if l.Lifecycle.Beats(loadgen.ServerPings) {
		l.lose(slot, metrics.PeerSilent) // the pings are the server's, who counts them
		return
	}
	l.beats.Missed++
	if c.missed++; int(c.missed) >= l.Lifecycle.Beat.Missed {
		l.lose(slot, metrics.PeerSilent)
		return
	}
	l.noteLag(slot, due)
	l.ask(slot, 0)
}

// onPings: pings of the server have come, n of them whole.
func (l *loop) onPings(slot int32, more bool) {
	c := &l.conns[slot]
	l.settle(c)
	c.left = 0
	if n := c.received / l.until.Bytes; n > 0 {
		c.received %= l.until.Bytes
		// A server closes before it asks for more answers than it may miss. To one that goes on
		// asking the client does not answer without end.
		c.pending = uint16(min(int64(c.pending)+n, int64(l.Lifecycle.Beat.Missed)))
	}
	c.readable = more
	if l.dismissed {
		l.proceed(slot, 0)
		return
	}
	l.enter(slot, sending)
	l.onSending(slot, 0)
}

// sentPong: one ping is answered. The next state waits for the next ping: as the first
// one of a life may come anywhere in the interval, for half of it more than allowed.
func (l *loop) sentPong(slot int32, mask uint32) {
	c := &l.conns[slot]
	c.again, c.sent = true, 0
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

// dismiss ends the rest of all connections that were kept for the measured time: they
// close now, as fast as they may.
func (l *loop) dismiss() {
	if !l.Lifecycle.Keep && l.Lifecycle.Beat == nil {
		return
	}
	l.dismissed = true
	for slot := range l.conns {
		// The others learn when their answer is here.
		c := &l.conns[slot]
		waits := c.state == receiving && c.pending == 0 && l.Lifecycle.Beats(loadgen.ServerPings)
		if c.state == resting || waits {
			c.leaving = true
			l.enterUntil(int32(slot), resting, l.closeLimit.At(l.now))
		}
	}
}

// settle notes that a connection has had its first exchange, or has ended without one.
// When all of a held population have, the hold begins.
func (l *loop) settle(c *conn) {
	if l.HoldFor == 0 || c.left < l.exchanges {
		return
	}
	if l.settled++; l.settled == uint64(len(l.conns)) {
		l.events <- loopEvent{kind: loopHolds, loop: l.id}
	}
}
