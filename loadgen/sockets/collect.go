package sockets

import (
	"context"
	"errors"
	"fmt"

	"tcpbench/loadgen"
	"tcpbench/metrics"
)

type eventKind uint8

const (
	loopMeasures  eventKind = iota // its measured time has begun
	loopInterval                   // one second of it is over
	loopDrains                     // its measured time is over
	loopPopulated                  // its population is there
	loopHolds                      // it holds its population: those of all loops and clients are there
	loopDone
)

// loopEvent is what a loop tells the collector, a few times a second at most.
type loopEvent struct {
	kind   eventKind
	loop   int
	second second
	err    error
}

// collector turns the events of all loops into those of the run.
type collector struct {
	run     *run
	obs     loadgen.Observer
	loops   [loopDone + 1]int // that have told of an event
	seconds *metrics.Lineup[second]
	report  metrics.ClientReport
	errs    []error
}

func newCollector(r *run, obs loadgen.Observer) *collector {
	return &collector{run: r, obs: obs, seconds: metrics.NewLineup[second](len(r.loops))}
}

// collect listens to the loops until the last has ended, and adds up.
func collect(ctx context.Context, r *run, obs loadgen.Observer) (metrics.ClientReport, error) {
	c := newCollector(r, obs)
	if r.Warmup > 0 {
		c.period(loadgen.WarmingUp)
	}
	interrupted := ctx.Done()
	for c.loops[loopDone] < len(r.loops) {
		select {
		case <-interrupted:
			interrupted = nil
			r.stop("interrupted")
		case e := <-r.events:
			if err := c.take(e); err != nil {
				c.errs = append(c.errs, err)
				r.stop("a loop failed")
			}
		}
	}
	err := c.addUp()
	return c.report, errors.Join(append(c.errs, err)...)
}

func (c *collector) period(p loadgen.Period) {
	if c.obs.Period != nil {
		c.obs.Period(p)
	}
}

func (c *collector) take(e loopEvent) error {
	c.loops[e.kind]++
	first, last := c.loops[e.kind] == 1, c.loops[e.kind] == len(c.run.loops)
	user, system, _ := usage()
	r := &c.report
	switch {
	case e.kind == loopMeasures && first:
		r.UserNS, r.SystemNS = user, system
		c.period(loadgen.Measuring)
	case e.kind == loopDrains && last:
		if c.loops[loopMeasures] > 0 {
			r.UserNS, r.SystemNS = user-r.UserNS, system-r.SystemNS
		}
		if c.loops[loopHolds] > 0 {
			r.Hold.CPUNS = r.UserNS + r.SystemNS - r.Hold.RampCPUNS
		}
		c.period(loadgen.Draining)
	case e.kind == loopPopulated && last:
		r.RampNS = c.run.now() - int64(c.run.Warmup)
		if c.obs.Populated == nil {
			c.period(loadgen.Holding)
			c.run.hold()
		} else {
			c.obs.Populated(c.run.hold)
		}
	case e.kind == loopHolds && first:
		r.Hold.RampCPUNS = user + system - r.UserNS - r.SystemNS
	case e.kind == loopInterval, e.kind == loopDone:
		c.seconds.Add(e.loop, e.second.Index, c.freeze(e))
		if e.kind == loopDone {
			c.seconds.End(e.loop)
		}
		return errors.Join(e.err, c.handOut())
	}
	return nil
}

// freeze returns a second with its histogram in the exported form, and gives the recorder back to
// the loop.
func (c *collector) freeze(e loopEvent) second {
	s := e.second
	if s.connect.Count() > 0 {
		h, err := s.connect.Export()
		if err != nil {
			c.errs = append(c.errs, fmt.Errorf("loop %d: %w", e.loop, err))
		}
		s.Connect = h
	}
	if e.kind == loopInterval {
		s.connect.Reset()
		c.run.loops[e.loop].spares <- s.connect
	}
	s.connect = nil
	return s
}

// handOut tells the observer the intervals that no loop can add to any more.
func (c *collector) handOut() error {
	last := c.seconds.Over()
	for parts, ok := c.seconds.Take(); ok; parts, ok = c.seconds.Take() {
		merged, err := mergeSeconds(parts)
		if err != nil {
			return err
		}
		counted := merged.Attempted + merged.Succeeded + merged.Failed + uint64(merged.Connect.Count)
		if c.obs.Interval != nil && (counted > 0 || !last) {
			c.obs.Interval(merged)
		}
	}
	return nil
}

// mergeSeconds adds up the same second of all loops.
func mergeSeconds(parts []second) (metrics.Interval, error) {
	sum := metrics.Interval{Index: parts[0].Index}
	var connects []map[string]metrics.Histogram
	for _, p := range parts {
		sum.EndNS = max(sum.EndNS, p.EndNS)
		sum.Attempted += p.Attempted
		sum.Succeeded += p.Succeeded
		sum.Failed += p.Failed
		sum.InFlight += p.InFlight
		sum.Calls.Add(p.Calls)
		if p.Connect.Count > 0 {
			sum.Connect = p.Connect
			connects = append(connects, map[string]metrics.Histogram{metrics.Connect: p.Connect})
		}
	}
	if len(connects) < 2 { // to merge takes more memory than many connections do
		return sum, nil
	}
	merged, err := metrics.MergeHistograms(connects...)
	sum.Connect = merged[metrics.Connect]
	return sum, err
}

// addUp adds up what the loops counted. They have ended: their memory is ours.
func (c *collector) addUp() error {
	r := &c.report
	_, _, r.MaxRSS = usage()
	if reason := c.run.reason.Load(); reason != nil {
		r.Stopped = *reason
	}
	for _, l := range c.run.loops {
		if err := r.Merge(l.result()); err != nil {
			return err
		}
	}
	r.Histograms = map[string]metrics.Histogram{}
	for i, name := range recorded {
		sum := c.run.loops[0].hist[i]
		for _, l := range c.run.loops[1:] {
			sum.Merge(l.hist[i])
		}
		if sum.Count() == 0 {
			continue
		}
		h, err := sum.Export()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		r.Histograms[name] = h
	}
	return nil
}
