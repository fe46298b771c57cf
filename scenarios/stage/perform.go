package stage

import (
	"context"
	"fmt"
	"time"

	"tcpbench/internal/kernel/sockdiag"
	"tcpbench/internal/kernel/sysinfo"
	"tcpbench/internal/kernel/trace"
	"tcpbench/metrics"
)

// Perform does an experiment in a lab, or on this host if the venue is nil, and asks the kernel's
// tracepoints about connections to the ports; none are no tracing. When ctx ends, what was seen
// so far is the result.
func Perform(ctx context.Context, name string, v *Venue, ports []sockdiag.Ports, do func(context.Context) (*metrics.Experiment, error)) (*metrics.Result, error) {
	p := &Plan{Name: name, Lab: v}
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
	if len(ports) > 0 {
		if tracer, untraced = p.trace(ports); tracer != nil {
			defer func() { _ = tracer.Close() }() // the kernel takes away what is not closed
		}
	}
	started := time.Now()
	e, err := do(ctx)
	if err != nil {
		return nil, err
	}
	after, err := p.readCounters()
	if err != nil {
		return nil, err
	}
	host.LoadAfter = sysinfo.Load()
	r := &metrics.Result{
		Schema: metrics.Schema, Host: host, Started: started, ElapsedS: time.Since(started).Seconds(),
		Scenario:   metrics.Scenario{Name: name, Target: []string{}, Settings: map[string]string{}},
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
