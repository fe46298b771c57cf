package server

import (
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/internal/epoll"
	"tcpbench/internal/wire"
)

// beat is the heartbeat of a connection whose script is wire.Listen or wire.Ping.
// Times are nanoseconds of the engine's clock.
type beat struct {
	heard int64 // when the peer last gave a sign of life; zero without a heartbeat
	asked int64 // when the oldest ping without an answer was sent
	ahead int64 // when the next ping is due
	// owed are bytes of pings that the send buffer did not take: a peer that is gone
	// does not empty it. They go out with the next ping.
	owed       uint64
	unanswered uint64
}

// beginBeats: the first request is whole, and the pings begin. It returns nothing to
// read on, as rest was read.
func (c *conn) beginBeats(rest []byte, d *due) []byte {
	c.have, c.left = 0, 0
	if c.script.Kind == wire.Listen {
		c.enter(listening)
	} else {
		c.enter(pinging)
	}
	rest = c.onBeat(rest, d)
	d.beats++ // the request itself
	return rest
}

// onBeat takes pings, or answers to pings.
func (c *conn) onBeat(b []byte, d *due) []byte {
	size := uint64(c.script.RequestSize)
	have := uint64(c.have) + uint64(len(b))
	d.beats += have / size
	c.have = uint32(have % size)
	if c.state == pinging && d.beats*size+uint64(c.have) > c.unanswered*size {
		c.finish(ExcessData) // an answer without a question
	}
	return nil
}

// silence is the time after which a silent client of a listening server is dead.
func (c *conn) silence() int64 { return int64(c.script.Exchanges) * int64(c.script.Beat) }

// onBeats: the client has given signs of life, n of them whole. The first ping goes out at
// once, and ends the connection if it cannot.
func (e *engine) onBeats(c *conn, n uint64) {
	now := e.clock()
	first := c.heard == 0
	c.heard = now
	switch {
	case c.script.Kind == wire.Listen:
		e.counters.answered.Add(n)
		if first {
			e.setBeat(c, now+c.silence())
		}
	case first:
		// Each has its own place in the interval. Fibonacci hashing: neighbours in the
		// slab are far apart.
		place := int64(uint64(c.id) * 0x9E3779B97F4A7C15 >> 44)
		c.ahead = now + place*(int64(c.script.Beat)>>20)
		e.setBeat(c, max(c.ahead, now+1))
		e.ping(c)
	default:
		e.counters.answered.Add(n)
		for range n {
			e.times.record(&e.times.rtt, now-c.asked)
			c.unanswered--
			c.asked = c.ahead - int64(c.unanswered)*int64(c.script.Beat)
		}
	}
}

// setBeat has beatDue called at a time, or at the end of the connection's life if that is
// sooner.
func (e *engine) setBeat(c *conn, at int64) {
	if c.until != 0 {
		at = min(at, c.until)
	}
	if e.wheel == nil {
		e.wheel = epoll.NewWheel(e.slab.size(), e.clock())
	}
	e.wheel.Grow(e.slab.size())
	e.wheel.Set(c.id, at)
	if e.turning { // the sweep that turns the wheel looks at it when it is done
		return
	}
	if at < e.pulse.due.Load() {
		e.pulse.set(at)
	}
}

// beatsPerTurn bounds the beats that are dealt with while traffic waits.
const beatsPerTurn = 1024

// turnWheel deals with the beats that are due. It runs on the loop.
func (e *engine) turnWheel() {
	if e.wheel == nil {
		return
	}
	e.turning = true
	now := e.clock()
	e.wheel.Advance(now)
	for range beatsPerTurn {
		id, _, ok := e.wheel.Pop()
		if !ok {
			break
		}
		e.beatDue(e.slab.at(id), now)
	}
	e.turning = false
	e.pulse.set(e.wheel.Next())
}

// beatDue: a client may have been silent for too long, a ping is due, or its life is over.
func (e *engine) beatDue(c *conn, now int64) {
	if c.until != 0 && now >= c.until {
		c.finish(LifeExceeded)
		e.drop(c)
		return
	}
	dead := now-c.heard >= c.silence()
	if c.state == pinging {
		if c.unanswered > 0 {
			e.counters.missed.Add(1)
		}
		dead = c.unanswered >= uint64(c.script.Exchanges)
	}
	switch {
	case dead && readable(c.socket.Fd()):
		// It is this server that was away: what it has missed is read first.
		c.heard = now
		e.setBeat(c, now+int64(c.script.Beat))
	case dead:
		c.finish(Silent)
		e.drop(c)
	case c.state == listening:
		e.setBeat(c, c.heard+c.silence())
	default:
		// Pings that a stopped server has left out are not made up for.
		every := int64(c.script.Beat)
		c.ahead += (max(now-c.ahead, 0)/every + 1) * every
		e.setBeat(c, c.ahead)
		if !e.ping(c) {
			e.drop(c)
		}
	}
}

// ping asks the client for a sign of life. It is false, and the connection ended, if it
// cannot. Its clock starts with its own send(), not with those of the beats before it.
func (e *engine) ping(c *conn) bool {
	if e.order(c, due{exchanges: 1}).exchanges == 0 {
		return false
	}
	if c.unanswered == 0 {
		c.asked = e.clock()
	}
	c.unanswered++
	e.counters.sent.Add(1)
	c.owed += uint64(c.script.ResponseSize)
	n, err := c.respond(c.socket.Fd(), c.owed)
	c.owed -= n
	e.counters.written.Add(n)
	if err != nil {
		c.lose(lostBy(err))
	}
	return err == nil
}

// drop closes a connection from outside of its own events.
func (e *engine) drop(c *conn) {
	// An error is the kernel's about a descriptor that is closed all the same.
	_ = (*e.loop.Load()).Close(c.socket)
}

// endBeats: the connection has ended; when that was a surprise, it was noticed now.
func (e *engine) endBeats(c *conn) {
	if c.heard == 0 && c.until == 0 {
		return
	}
	e.wheel.Cancel(c.id)
	if c.heard == 0 {
		return
	}
	switch c.end {
	case Silent, PeerReset, PeerVanished, PeerClosedEarly:
		e.times.record(&e.times.detect, e.clock()-c.heard)
	}
}

// readable tells whether the loop has something to read, be it the end.
func readable(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLRDHUP}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0
}

// clock is the time since the server's start, in nanoseconds.
func (e *engine) clock() int64 { return int64(time.Since(e.server.started)) }
