package scenarios

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"tcpbench/internal/lab"
	"tcpbench/metrics"
	"tcpbench/metrics/compare"
)

// Arm is one of the sides of a comparison: the settings of both hosts of its labs.
type Arm struct {
	Name           string
	Client, Server *lab.Profile
	Link           lab.Link
}

// Comparison runs a scenario under each arm, in rounds.
type Comparison struct {
	Scenario  *Scenario
	Overrides []Override
	Arms      []Arm
	Rounds    int
	// Seed decides the order within the rounds, what links do at random, and the random times of arrivals: they are
	// the same for all arms of a round.
	Seed uint64
	// Strict ends the comparison where a setting is not as its profile says.
	Strict bool
	// Machine is where settings are changed that no lab has of its own; nil leaves them.
	Machine *lab.Machine
	// Prepare is called with each plan before it is run.
	Prepare func(*Plan)
	// Progress is called before each run.
	Progress func(round int, arm *Arm)
	// Save is called with each result; nil does nothing.
	Save func(round int, arm *Arm, r *metrics.Result) error
}

// Run makes the rounds, each arm in a lab of its own, in random order. When ctx ends, the
// rounds that are whole are the result.
func (c *Comparison) Run(ctx context.Context, obs Observer) ([]compare.Side, error) {
	sides := make([]compare.Side, len(c.Arms))
	for i, a := range c.Arms {
		sides[i].Name = a.Name
	}
	order := rand.New(rand.NewPCG(c.Seed, 0))
	for round := range c.Rounds {
		results := make([]*metrics.Result, len(c.Arms))
		for _, i := range order.Perm(len(c.Arms)) {
			if ctx.Err() != nil {
				return sides, nil
			}
			arm := &c.Arms[i]
			if c.Progress != nil {
				c.Progress(round, arm)
			}
			r, err := c.once(ctx, round, arm, obs)
			if err != nil {
				return sides, fmt.Errorf("round %d, %s: %w", round+1, arm.Name, err)
			}
			results[i] = r
			if c.Save != nil && !r.Flagged("interrupted") {
				if err := c.Save(round, arm, r); err != nil {
					return sides, err
				}
			}
		}
		if ctx.Err() != nil {
			return sides, nil // the last run of this round was cut short
		}
		for i, r := range results {
			sides[i].Results = append(sides[i].Results, r)
		}
	}
	return sides, nil
}

// once runs the scenario in a new lab.
func (c *Comparison) once(ctx context.Context, round int, arm *Arm, obs Observer) (r *metrics.Result, err error) {
	stages, err := c.Scenario.Stages(ctx, c.Overrides)
	if err != nil {
		return nil, err
	}
	link := arm.Link
	link.Seed = c.Seed + uint64(round) // the link of a round loses the same packets under each profile
	v, err := c.Scenario.Phenomenon.Venue(link, arm.Client, arm.Server)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	if c.Machine != nil {
		if err := v.ChangeMachine(c.Machine); err != nil {
			return nil, err
		}
	}
	if c.Strict {
		if err := v.Strict(); err != nil {
			return nil, err
		}
	}
	for i := range stages {
		p := &stages[i].Plan
		p.Lab, p.Client.Seed = v, c.Seed+uint64(round)
		c.Prepare(p)
	}
	return RunStages(ctx, stages, c.Scenario.Expectations(), obs)
}
