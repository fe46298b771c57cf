package scenarios

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"tcpbench/metrics"
	"tcpbench/scenarios/expect"
	"tcpbench/scenarios/stage"
)

// RunStages runs the stages of a scenario, one after the other, and judges what was
// expected of each and of all. The run's own server has the same addresses throughout.
// When ctx ends, what was measured so far is the result.
func RunStages(ctx context.Context, stages []Stage, expected []*expect.Expression, obs Observer) (*metrics.Result, error) {
	var phases []metrics.Phase
	var held []netip.AddrPort
	for i := range stages {
		s := &stages[i]
		if len(phases) > 0 && ctx.Err() != nil {
			break
		}
		if s.Plan.Server != nil && s.Open == nil && len(held) == s.Plan.CrewSize()*len(s.Plan.Server.Addrs) {
			s.Plan.Server.Addrs = held
		}
		if obs.Stage != nil {
			obs.Stage(s)
		}
		r, err := runStage(ctx, s, obs)
		if err != nil {
			if len(stages) > 1 {
				err = fmt.Errorf("phase %s: %w", s.Name, err)
			}
			return nil, err
		}
		r.Expectations = expect.JudgeAll(s.Expect, r)
		if s.Plan.Server != nil {
			held = addresses(r.Scenario.Target)
		}
		phases = append(phases, metrics.Phase{Name: s.Name, Why: s.Why, Costs: s.Costs, Result: *r})
	}
	r := &phases[0].Result
	if len(stages) > 1 {
		var err error
		if r, err = metrics.Combine(phases); err != nil {
			return nil, err
		}
		for _, s := range stages[len(phases):] {
			r.Flags = append(r.Flags, metrics.Flag{Name: "interrupted", Why: fmt.Sprintf("The phase %s did not run.", s.Name)})
		}
	}
	r.Expectations = append(r.Expectations, expect.JudgeAll(expected, r)...)
	return r, nil
}

// runStage runs a stage, in a lab of its own if it wants one.
func runStage(ctx context.Context, s *Stage, obs Observer) (r *metrics.Result, err error) {
	if s.Open == nil {
		return stage.Run(ctx, s.Plan, obs.Observer)
	}
	v, err := s.Open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	s.Plan.Lab = v
	return stage.Run(ctx, s.Plan, obs.Observer)
}

// addresses reads the targets of a result.
func addresses(targets []string) []netip.AddrPort {
	var all []netip.AddrPort
	for _, t := range targets {
		if a, err := netip.ParseAddrPort(t); err == nil {
			all = append(all, a)
		}
	}
	return all
}
