package experiment

import (
	"sync/atomic"
	"time"
)

// pulse measures for how long this process could not run: who looks late, or carries a segment
// late, cannot tell when something happened.
type pulse struct {
	longest atomic.Int64 // nanoseconds
	stop    chan struct{}
}

// beat is the time between two beats of the pulse.
const beat = 10 * time.Millisecond

// stalled is the fact of experiments that measure times.
var stalled = Fact{"stalled", Time, "longest time for which this process did not run: other times are as uncertain"}

func (p *pulse) start() {
	p.stop = make(chan struct{})
	go func() {
		ticker := time.NewTicker(beat)
		defer ticker.Stop()
		for last := time.Now(); ; {
			select {
			case <-ticker.C:
			case <-p.stop:
				return
			}
			now := time.Now()
			p.longest.Store(max(p.longest.Load(), int64(now.Sub(last)-beat)))
			last = now
		}
	}()
}

func (p *pulse) end() { close(p.stop) }

// missed is the longest time without a beat so far.
func (p *pulse) missed() time.Duration { return time.Duration(p.longest.Load()) }
