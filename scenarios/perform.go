package scenarios

import (
	"context"
	"time"

	"tcpbench/metrics"
	"tcpbench/metrics/kernel"
)

// Perform does the experiment of a scenario in a lab. tell hears of what happens while it
// does, and may be nil. When ctx ends, what was seen so far is the result.
func (s *Scenario) Perform(ctx context.Context, v *Venue, tell func(metrics.Event)) (*metrics.Result, error) {
	p := &Plan{Name: s.Name, Lab: v}
	host, err := p.describeHost()
	if err != nil {
		return nil, err
	}
	before, err := p.readCounters()
	if err != nil {
		return nil, err
	}
	started := time.Now()
	e, err := s.Phenomenon.Experiment.Run(ctx, v.Lab, tell)
	if err != nil {
		return nil, err
	}
	e.Steps = s.Phenomenon.Steps
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
	for i, side := range p.namespaces() {
		r.Kernel = append(r.Kernel, metrics.View{Of: string(side), Counters: after[i].Sub(before[i])})
	}
	if r.Lab, err = v.report(); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		r.Flags = append(r.Flags, metrics.Flag{Name: "interrupted", Why: "The experiment ended before its time."})
	}
	return r, nil
}
