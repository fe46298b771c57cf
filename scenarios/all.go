package scenarios

import (
	"context"
	"time"

	"tcpbench/internal/probe"
	"tcpbench/metrics"
	"tcpbench/scenarios/file"
)

// ShowAll runs the phenomena and benchmarks of the catalogue, one after the other, in a lab or on
// loopback as this machine can. begin is called before each, and each with what came of it; its
// error ends ShowAll. A scenario that cannot be run does not stop the others.
func (m *Machine) ShowAll(ctx context.Context, o Options, obs Observer, begin func(name string), each func(*metrics.ShownScenario) error) (*metrics.Shown, error) {
	sum := metrics.NewShown()
	for _, s := range Builtins() {
		if s.Phenomenon == nil {
			continue
		}
		one := metrics.ShownScenario{Name: s.Name, Standing: metrics.NotBegun}
		if ctx.Err() == nil {
			begin(s.Name)
			one = m.show(ctx, s, o, obs)
		}
		sum.Add(one)
		if one.Standing == metrics.NotBegun {
			continue
		}
		if err := each(&one); err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// show runs a scenario, if this machine can.
func (m *Machine) show(ctx context.Context, s *Scenario, o Options, obs Observer) metrics.ShownScenario {
	one := metrics.ShownScenario{Name: s.Name}
	if here, why := m.Here(s.Requires()); here == file.CannotRun {
		one.Standing, one.Why, one.Lift = metrics.CannotRun, why.Summary(), why.Lift
		return one
	}
	began := time.Now()
	r, err := Run(ctx, s, Where{NoLab: m.OnLoopback(s)}, o, obs)
	one.Result, one.TookS = r, time.Since(began).Seconds()
	switch refused, ok := probe.Explain(err); {
	case ok:
		one.Standing, one.Why, one.Lift = metrics.CannotRun, refused.Summary(), refused.Lift
	case err != nil && ctx.Err() != nil:
		one.Standing, one.Why = metrics.Undecided, "it was interrupted"
	case err != nil:
		one.Standing, one.Why = metrics.Undecided, err.Error()
	default:
		one.Standing, one.Why = metrics.StandingOf(r)
	}
	return one
}
