package server

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"

	"tcpbench/internal/epoll"
)

// clock is the time since the server's start, in nanoseconds.
func (e *engine) clock() int64 { return int64(time.Since(e.server.started)) }

// wakeAt sets the timer of a connection, of which it has one: wake is called at that time, or at
// the end of the connection's life if that is sooner.
func (e *engine) wakeAt(c *conn, at int64) {
	if c.until != 0 {
		at = min(at, c.until)
	}
	if e.wheel == nil {
		e.wheel = epoll.NewWheel(e.slab.size(), e.clock())
	}
	e.wheel.Grow(e.slab.size())
	e.wheel.Set(c.id, at)
	// A sweep that is under way looks at the wheel when it is done.
	if !e.sweeps && at < e.pulse.due.Load() {
		e.pulse.set(at)
	}
}

// beginWait bounds the time of a connection in a timed state.
func (e *engine) beginWait(c *conn) {
	c.waits = true
	e.wakeAt(c, e.clock()+int64(e.timeout))
}

// endWait ends what beginWait began.
func (e *engine) endWait(c *conn) {
	if !c.waits {
		return
	}
	c.waits = false
	if c.until != 0 {
		e.wakeAt(c, c.until)
	} else {
		e.wheel.Cancel(c.id)
	}
}

// wake deals with a connection whose timer is due.
func (e *engine) wake(c *conn, now int64) {
	switch {
	case c.until != 0 && now >= c.until:
		c.finish(LifeExceeded)
	case c.waits:
		c.expire()
	default:
		e.beatDue(c, now)
		return
	}
	e.drop(c)
}

// drop closes a connection from outside of its own events.
func (e *engine) drop(c *conn) {
	// The kernel may report an error about a descriptor, and closes it all the same.
	_ = (*e.loop.Load()).Close(c.socket)
}

// wakesPerSweep bounds the connections that a sweep deals with while traffic waits. The next
// sweep comes after sweepPause.
const wakesPerSweep = 1024

// Run sweeps: it deals with the timers that are due. It runs on the loop, by Execute.
func (e *engine) Run(context.Context) error {
	e.sweeping.Store(false)
	if e.wheel == nil {
		return nil
	}
	e.sweeps = true
	now := e.clock()
	e.wheel.Advance(now)
	for range wakesPerSweep {
		id, _, ok := e.wheel.Pop()
		if !ok {
			break
		}
		e.wake(e.slab.at(id), now)
	}
	e.sweeps = false
	e.pulse.set(e.wheel.Next())
	return nil
}

// pulse tells when the next sweep of an engine is due. gnet calls OnTick again and again on a
// goroutine of its own, and sleeps in between for as long as OnTick says; but a nearer timer may
// be set at any moment, so OnTick does its sleeping itself.
type pulse struct {
	due  atomic.Int64  // when the next timer is, by the engine's clock
	wake chan struct{} // due has come nearer
	down chan struct{} // closed when the loop is about to end
	once sync.Once
}

func newPulse() *pulse {
	p := &pulse{wake: make(chan struct{}, 1), down: make(chan struct{})}
	p.due.Store(epoll.Never)
	return p
}

// set says when the next timer is due.
func (p *pulse) set(at int64) {
	p.due.Store(at)
	if at == epoll.Never {
		return
	}
	select {
	case p.wake <- struct{}{}:
	default: // it is about to look anyway
	}
}

// sweepPause is the least time between two sweeps. Waking a loop costs a few microseconds, and
// with many connections some timer is always due.
const sweepPause = 2 * time.Millisecond

// OnTick runs on a goroutine of its own: it asks the loop to sweep if a timer is due, and sleeps
// until the next one is.
func (e *engine) OnTick() (time.Duration, gnet.Action) {
	e.upOnce.Do(func() { close(e.up) })
	select {
	case <-e.pulse.down: // gnet is about to see it too
		return time.Hour, gnet.None
	default:
	}
	now := e.clock()
	// One sweep waits for its turn at a time. Without a connection so far there is no loop to
	// call and nothing to sweep. gnet ends this goroutine before it closes the loop's eventfd,
	// so the call cannot reach a foreign descriptor.
	if loop := e.loop.Load(); loop != nil && now >= e.pulse.due.Load() && !e.sweeping.Swap(true) {
		e.pulse.due.Store(epoll.Never) // the sweep sets it again
		if (*loop).Execute(context.Background(), e) != nil {
			e.sweeping.Store(false)
		}
	}
	e.sleep(now)
	return 0, gnet.None
}

// sleep waits until the next timer is due, but at least for sweepPause.
func (e *engine) sleep(since int64) {
	earliest := since + int64(sweepPause)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := e.clock()
		until := max(e.pulse.due.Load(), earliest)
		if until <= now {
			return
		}
		timer.Reset(time.Duration(until - now))
		select {
		case <-timer.C:
		case <-e.pulse.wake:
		case <-e.pulse.down:
			return
		}
	}
}

// OnShutdown comes before the loop is told to end: connections close after it.
func (e *engine) OnShutdown(gnet.Engine) { e.pulse.once.Do(func() { close(e.pulse.down) }) }
