package scenarios

import (
	"context"
	"fmt"
	"time"

	"tcpbench/internal/kernel"
	"tcpbench/internal/kernel/trace"
	"tcpbench/metrics"
	"tcpbench/scenarios/experiment"
)

// Perform does the experiment of a scenario in a lab, or on loopback if the venue is nil, and
// asks the kernel's tracepoints besides where traced says so. tell hears of what happens meanwhile, and may be nil. When ctx ends,
// what was seen so far is the result.
func (s *Scenario) Perform(ctx context.Context, v *Venue, traced bool, tell func(metrics.Event)) (*metrics.Result, error) {
	p := &Plan{Name: s.Name, Lab: v}
	host, err := p.describeHost()
	if err != nil {
		return nil, err
	}
	before, err := p.readCounters()
	if err != nil {
		return nil, err
	}
	var tracer *trace.Tracer
	var untraced error
	if traced {
		if tracer, untraced = p.trace([]kernel.Ports{experiment.Ports}); tracer != nil {
			defer func() { _ = tracer.Close() }() // the kernel takes away what is not closed
		}
	}
	started := time.Now()
	e, err := s.experiment(ctx, v, tell)
	if err != nil {
		return nil, err
	}
	after, err := p.readCounters()
	if err != nil {
		return nil, err
	}
	host.LoadAfter = kernel.Load()
	r := &metrics.Result{
		Schema: metrics.Schema, Host: host, Started: started, ElapsedS: time.Since(started).Seconds(),
		Scenario:   metrics.Scenario{Name: s.Name, Target: []string{}, Settings: map[string]string{}},
		Histograms: map[string]metrics.Histogram{}, Series: []metrics.Row{}, Checks: []metrics.Check{}, Flags: []metrics.Flag{},
		Experiment: e,
	}
	if v != nil { // the counters of a host count what others do, too
		for i, side := range p.namespaces() {
			r.Kernel = append(r.Kernel, metrics.Namespace{Of: string(side), Counters: after[i].Sub(before[i])})
		}
		if r.Lab, err = v.report(); err != nil {
			return nil, err
		}
	}
	if tracer != nil {
		var told metrics.Trace
		if told, r.Histograms, untraced = tracer.Read(); untraced == nil {
			r.Kernel[0].Trace = &told
		}
	}
	flagTrace(r, untraced, flagger(r, "untraced"))
	switch {
	case ctx.Err() != nil:
		r.Flags = append(r.Flags, metrics.Flag{Name: "interrupted", Why: "The experiment ended before its time."})
	case e.Unfinished != "":
		r.Flags = append(r.Flags, metrics.Flag{Name: "unfinished", Why: fmt.Sprintf("The experiment ended before its last step: %s.", e.Unfinished)})
	}
	return r, nil
}

// experiment does it in the venue, or on loopback if there is none.
func (s *Scenario) experiment(ctx context.Context, v *Venue, tell func(metrics.Event)) (*metrics.Experiment, error) {
	e := s.Phenomenon.Experiment
	if v == nil {
		l := s.Phenomenon.Loopback
		return e.RunOnLoopback(ctx, l.Client, l.Server, tell)
	}
	return e.Run(ctx, v.Lab, tell)
}
