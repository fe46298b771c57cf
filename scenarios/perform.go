package scenarios

import (
	"context"

	"tcpbench/internal/kernel/sockdiag"
	"tcpbench/metrics"
	"tcpbench/scenarios/experiment"
	"tcpbench/scenarios/stage"
)

// Perform does the experiment of a scenario in a lab, or on loopback if the venue is nil, and
// asks the kernel's tracepoints if traced. tell hears of what happens meanwhile, and may be nil. When ctx ends,
// what was seen so far is the result.
func Perform(ctx context.Context, s *Scenario, v *stage.Venue, traced bool, tell func(metrics.Event)) (*metrics.Result, error) {
	var ports []sockdiag.Ports
	if traced {
		ports = []sockdiag.Ports{experiment.Ports}
	}
	return stage.Perform(ctx, s.Name, v, ports, func(ctx context.Context) (*metrics.Experiment, error) {
		if e := s.Phenomenon.Experiment; v != nil {
			return e.Run(ctx, v.Lab, tell)
		} else {
			return e.RunOnLoopback(ctx, s.Phenomenon.Loopback.Client, s.Phenomenon.Loopback.Server, tell)
		}
	})
}
