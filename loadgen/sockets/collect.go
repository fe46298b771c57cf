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
	loopMeasures eventKind = iota // its measured time has begun
	loopInterval                  // one second of it is over
	loopDrains                    // its measured time is over
	loopHolds                     // its held population is there
	loopKeeps                     // it begins to keep it: those of all loops and clients are there
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
	run              *run
	obs              loadgen.Observer
	measuring, ended int // loops that have begun, ended their measured time
	holding, keeping int // loops whose population is there, that keep it
	seconds          *metrics.Lineup[second]
	user, system     int64
	hold             metrics.HoldReport // processor time alone
	rampNS           int64              // until all of a held population was there
	errs             []error
}

// collect listens to the loops until the last has ended, and adds up.
func collect(ctx context.Context, r *run, obs loadgen.Observer) (metrics.ClientReport, error) {
	c := &collector{run: r, obs: obs, seconds: metrics.NewLineup[second](len(r.loops))}
	if r.Warmup > 0 {
		c.phase(loadgen.WarmingUp)
	}
	interrupted := ctx.Done()
	for left := len(r.loops); left > 0; {
		select {
		case <-interrupted:
			interrupted = nil
			r.stop("interrupted")
		case e := <-r.events:
			if err := c.take(e); err != nil {
				c.errs = append(c.errs, err)
				r.stop("a loop failed")
			}
			if e.kind == loopDone {
				left--
			}
		}
	}
	report, err := c.report()
	return report, errors.Join(append(c.errs, err)...)
}

func (c *collector) phase(p loadgen.Phase) {
	if c.obs.Phase != nil {
		c.obs.Phase(p)
	}
}

func (c *collector) take(e loopEvent) error {
	switch e.kind {
	case loopMeasures:
		if c.measuring++; c.measuring == 1 {
			c.user, c.system, _ = usage()
			c.phase(loadgen.Measuring)
		}
	case loopDrains:
		if c.ended++; c.ended == len(c.run.loops) {
			user, system, _ := usage()
			if c.measuring > 0 {
				c.user, c.system = user-c.user, system-c.system
			}
			if c.keeping > 0 {
				c.hold.CPUNS = c.user + c.system - c.hold.RampCPUNS
			}
			c.phase(loadgen.Draining)
		}
	case loopHolds:
		if c.holding++; c.holding == len(c.run.loops) {
			c.rampNS = c.run.now() - int64(c.run.Warmup)
			if c.obs.Holds == nil {
				c.phase(loadgen.Holding)
				c.run.beginHold()
			} else {
				c.obs.Holds(c.run.beginHold)
			}
		}
	case loopKeeps:
		if c.keeping++; c.keeping == 1 {
			user, system, _ := usage()
			c.hold.RampCPUNS = user + system - c.user - c.system
		}
	case loopInterval, loopDone:
		c.seconds.Add(e.loop, e.second.Index, c.freeze(e))
		if e.kind == loopDone {
			c.seconds.End(e.loop)
		}
		return errors.Join(e.err, c.give())
	}
	return nil
}

// freeze keeps the histogram of a second in its exported form, and gives the recorder
// back to the loop.
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

// give hands out the intervals that no loop can add to any more.
func (c *collector) give() error {
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
	var connects []metrics.Histogram
	for _, p := range parts {
		sum.EndNS = max(sum.EndNS, p.EndNS)
		sum.Attempted += p.Attempted
		sum.Succeeded += p.Succeeded
		sum.Failed += p.Failed
		sum.InFlight += p.InFlight
		sum.Calls.Add(p.Calls)
		if p.Connect.Count > 0 {
			connects = append(connects, p.Connect)
		}
	}
	var err error
	switch len(connects) { // to merge takes more memory than many connections do
	case 0:
	case 1:
		sum.Connect = connects[0]
	default:
		sum.Connect, err = mergeAll(connects)
	}
	return sum, err
}

func mergeAll(parts []metrics.Histogram) (metrics.Histogram, error) {
	sum := metrics.NewRecorder()
	for _, p := range parts {
		r, err := p.Recorder()
		if err != nil {
			return metrics.Histogram{}, err
		}
		sum.Merge(r)
	}
	return sum.Export()
}

// report adds up what the loops counted. They have ended: their memory is ours.
func (c *collector) report() (metrics.ClientReport, error) {
	report := metrics.ClientReport{UserNS: c.user, SystemNS: c.system, Histograms: map[string]metrics.Histogram{}}
	report.RampNS, report.Hold = c.rampNS, c.hold
	_, _, report.MaxRSS = usage()
	if reason := c.run.reason.Load(); reason != nil {
		report.Stopped = *reason
	}
	merged := map[string]*metrics.Recorder{}
	for _, l := range c.run.loops {
		report.Tally.Add(l.tally())
		report.InTime += l.window.flow.succeeded
		report.EndedInTime += l.window.flow.succeeded + l.window.flow.failed
		report.ElapsedNS = max(report.ElapsedNS, l.window.at)
		report.SYNs += l.syns
		report.Established += l.established
		report.ExhaustedNS += l.window.shut
		report.Exhaustion = metrics.Earlier(report.Exhaustion, l.exhaustion())
		report.TCP.Add(l.tcp)
		report.MPTCP.Add(l.mptcp)
		report.Loops = append(report.Loops, l.window.loop)
		report.Held += l.window.held
		report.Hold.Add(l.window.hold)
		report.Beats.Add(l.beats)
		report.Said = report.Said.Merge(l.ear.report())
		report.Bursts = append(report.Bursts, l.bursts...)
		for name, r := range l.hist.named() {
			if merged[name] == nil {
				merged[name] = r
			} else {
				merged[name].Merge(r)
			}
		}
	}
	report.Bursts = metrics.MergeBursts(report.Bursts)
	for name, r := range merged {
		if r.Count() == 0 {
			continue
		}
		h, err := r.Export()
		if err != nil {
			return report, fmt.Errorf("%s: %w", name, err)
		}
		report.Histograms[name] = h
	}
	return report, nil
}
