package server

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"

	"tcpbench/internal/epoll"
)

// pulse tells an engine's loop when a deadline or a beat is due. gnet calls OnTick in a
// loop on a goroutine of its own, and would let it sleep for as long as it says; but the
// first heartbeat may come in any moment, so OnTick does its sleeping itself.
type pulse struct {
	due  atomic.Int64  // when the next beat is, by the engine's clock
	wake chan struct{} // due has come nearer
	down chan struct{} // closed when the loop is about to end
	once sync.Once
}

func newPulse() *pulse {
	p := &pulse{wake: make(chan struct{}, 1), down: make(chan struct{})}
	p.due.Store(epoll.Never)
	return p
}

// set tells when the next beat is due.
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

func (p *pulse) end() { p.once.Do(func() { close(p.down) }) }

// beatStep is how finely beats are timed. Waking a loop costs a few microseconds, and
// with many connections some beat is always due.
const beatStep = 2 * time.Millisecond

// ticksPerTimeout is how finely waits are measured: they end up to an eighth too
// late, and never too early.
const ticksPerTimeout = 8

// tickOf returns the pause between two ticks, an hour if there is nothing to time.
func tickOf(timeout time.Duration) time.Duration {
	if timeout <= 0 {
		return time.Hour
	}
	return (timeout + ticksPerTimeout - 1) / ticksPerTimeout
}

// OnTick runs on a goroutine of its own, again and again: it moves the time of the
// waits, asks the loop to sweep when something is due, and sleeps until then.
func (e *engine) OnTick() (time.Duration, gnet.Action) {
	e.upOnce.Do(func() { close(e.up) })
	select {
	case <-e.pulse.down: // gnet is about to see it too
		return time.Hour, gnet.None
	default:
	}
	now := e.clock()
	ticked := now >= e.nextTick
	if ticked {
		e.ticks.Add(1)
		e.nextTick = now + int64(tickOf(e.timeout))
		if e.index == 0 {
			e.server.release(now, false)
		}
	}
	// A sweep that waits for its turn need not wait twice. No connection so far,
	// no loop to call and nothing to sweep. gnet ends this goroutine before it
	// closes the loop's eventfd, so the call cannot reach a foreign descriptor.
	beats := now >= e.pulse.due.Load()
	if loop := e.loop.Load(); loop != nil && (beats || ticked && e.timeout > 0) && !e.sweeping.Swap(true) {
		if beats {
			e.pulse.due.Store(epoll.Never) // the sweep will tell anew
		}
		if (*loop).Execute(context.Background(), e) != nil {
			e.sweeping.Store(false)
		}
	}
	e.sleep(now)
	return 0, gnet.None
}

// sleep waits until the next tick or beat, but at least for a step.
func (e *engine) sleep(since int64) {
	earliest := since + int64(beatStep)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := e.clock()
		until := min(e.nextTick, max(e.pulse.due.Load(), earliest))
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

// now counts time in ticks: no connection pays for a look at the clock, and a
// tick that comes late makes nobody's wait shorter.
func (e *engine) now() int64 { return e.ticks.Load() }

// Run sweeps: it ends the waits that are over, and deals with beats. It runs on the
// loop, by Execute.
func (e *engine) Run(context.Context) error {
	e.sweeping.Store(false)
	// The tick in which a wait began was partly over, and does not count.
	over := e.now() - ticksPerTimeout - 1
	for range waitsPerSweep {
		c := e.waits.first
		if c == nil || c.since > over {
			break
		}
		e.waits.end(c)
		c.expire()
		e.drop(c)
	}
	e.turnWheel()
	if c := e.waits.first; c != nil && c.since <= over {
		e.pulse.set(e.clock())
	}
	return nil
}

// waitsPerSweep bounds the waits that are ended while traffic waits; the next sweep comes
// after beatStep.
const waitsPerSweep = 1024

// OnShutdown comes before the loop is told to end: connections close after it.
func (e *engine) OnShutdown(gnet.Engine) { e.pulse.end() }
