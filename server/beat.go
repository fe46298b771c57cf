package server

import (
	"golang.org/x/sys/unix"

	"tcpbench/internal/wire"
)

// beat is the heartbeat of a connection whose script is wire.Listen or wire.Ping.
// Times are nanoseconds of the engine's clock.
type beat struct {
	heard int64 // when the peer last gave a sign of life; zero without a heartbeat
	asked int64 // when the oldest ping without an answer was sent
	ahead int64 // when the next ping is due
	// owed are bytes of pings that the send buffer did not take, because a peer that is gone
	// does not empty it. They go out with the next ping.
	owed       uint64
	unanswered uint64
}

// beginBeats begins the pings when the first request is whole. It takes all of rest.
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

// onBeats notes a sign of life of the client, of n whole pings or answers. The first ping goes
// out at once, and ends the connection if it cannot.
func (e *engine) onBeats(c *conn, n uint64) {
	now := e.clock()
	first := c.heard == 0
	c.heard = now
	switch {
	case c.script.Kind == wire.Listen:
		e.counters.answered.Add(n)
		if first {
			e.wakeAt(c, now+c.silence())
		}
	case first:
		// Each has its own place in the interval: Fibonacci hashing puts neighbours in the slab
		// far apart.
		place := int64(uint64(c.id) * 0x9E3779B97F4A7C15 >> 44)
		c.ahead = now + place*(int64(c.script.Beat)>>20)
		e.wakeAt(c, max(c.ahead, now+1))
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

// beatDue deals with a client that may have been silent for too long, or with a ping that is due.
func (e *engine) beatDue(c *conn, now int64) {
	dead := now-c.heard >= c.silence()
	if c.state == pinging {
		if c.unanswered > 0 {
			e.counters.missed.Add(1)
		}
		dead = c.unanswered >= uint64(c.script.Exchanges)
	}
	switch {
	case dead && readable(c.socket.Fd()):
		// This server was away: it first reads what it has missed.
		c.heard = now
		e.wakeAt(c, now+int64(c.script.Beat))
	case dead:
		c.finish(Silent)
		e.drop(c)
	case c.state == listening:
		e.wakeAt(c, c.heard+c.silence())
	default:
		// A server that was stopped does not make up for pings.
		every := int64(c.script.Beat)
		c.ahead += (max(now-c.ahead, 0)/every + 1) * every
		e.wakeAt(c, c.ahead)
		if !e.ping(c) {
			e.drop(c)
		}
	}
}

// ping asks the client for a sign of life. If it cannot it ends the connection and returns false.
// The clock of a ping starts with its own send(), not with those of the beats before it.
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

// endBeats measures when it was noticed that a peer with a heartbeat is gone: now.
func (e *engine) endBeats(c *conn) {
	if c.heard == 0 {
		return
	}
	switch c.end {
	case Silent, PeerReset, PeerVanished, PeerClosedEarly:
		e.times.record(&e.times.detect, e.clock()-c.heard)
	}
}

// readable reports whether there is something to read, which may be the end.
func readable(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN | unix.POLLRDHUP}}
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0
}
