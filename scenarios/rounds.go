package scenarios

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"tcpbench/internal/lab"
	"tcpbench/internal/machine"
	"tcpbench/internal/namespace"
	"tcpbench/metrics"
	"tcpbench/metrics/compare"
	"tcpbench/scenarios/stage"
)

// Arm is one of the sides of a comparison: the settings of both hosts of its labs.
type Arm struct {
	Name           string
	Client, Server *machine.Profile
	Link           lab.Link
	// Ablated arms lack a line of a profile. The kernel may take none of the others.
	Ablated bool
}

// Comparison runs a scenario under each arm, in rounds.
type Comparison struct {
	Scenario *Scenario
	Options  Options
	Arms     []Arm
	Rounds   int
	// Seed decides the order within the rounds, what links do at random, and the random times of
	// arrivals; the last two are the same for all arms of a round.
	Seed uint64
	// Strict ends the comparison if a setting is not as its profile says.
	Strict bool
	// Machine is where settings are changed that no namespace has of its own; nil leaves them.
	Machine *machine.Machine
	// Progress is called before each run.
	Progress func(round int, arm *Arm)
	// Save is called with each result; nil does nothing.
	Save func(round int, arm *Arm, r *metrics.Result) error

	purge time.Duration // for tests: another purgeLimit
}

// purgeLimit is how long a comparison waits for the kernel to remove a lab. A socket that waits for
// the acknowledgement of its FIN may hold it for longer.
const purgeLimit = 20 * time.Second

// keys returns the keys of all profiles, sorted.
func (c *Comparison) keys() (keys []string) {
	for _, a := range c.Arms {
		for _, p := range []*machine.Profile{a.Client, a.Server} {
			for _, s := range p.Settings {
				keys = append(keys, s.Key)
			}
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// OfMachine returns the keys of settings that no namespace has of its own, sorted. It makes the lab
// of each arm to find out.
func (c *Comparison) OfMachine() (keys []string, err error) {
	for _, a := range c.Arms {
		v, err := stage.NewVenue(a.Link, a.Client, a.Server)
		if err != nil {
			return nil, err
		}
		keys = append(keys, v.OfMachine()...)
		if err := v.Close(); err != nil {
			return nil, err
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys), nil
}

// Run makes the rounds, each arm in a lab of its own, in random order. Before each run it waits
// until the kernel has removed the previous lab with all its sockets; if that takes too long, the
// result is flagged. When ctx ends, the complete rounds are the result.
func (c *Comparison) Run(ctx context.Context, obs Observer) ([]compare.Side, error) {
	sides := make([]compare.Side, len(c.Arms))
	for i, a := range c.Arms {
		sides[i].Name = a.Name
	}
	order := rand.New(rand.NewPCG(c.Seed, 0))
	keys := c.keys()
	var left error // why the previous lab may still be there
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
			r, purged, err := c.once(ctx, round, arm, keys, obs)
			if err != nil {
				return sides, fmt.Errorf("round %d, %s: %w", round+1, arm.Name, err)
			}
			if left != nil {
				r.Flags = append(r.Flags, metrics.Flag{Name: compare.Leftovers, Why: fmt.Sprintf("Leftovers of the run before may have disturbed this one: %v.", left)})
			}
			left = purged
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

// once runs the scenario in a new lab, and waits until the kernel has removed it; purged says why
// it may not have.
func (c *Comparison) once(ctx context.Context, round int, arm *Arm, keys []string, obs Observer) (r *metrics.Result, purged, err error) {
	o := c.Options
	seed := c.Seed + uint64(round)
	o.seed, o.unjudged = &seed, true
	l := &Lab{
		Link: arm.Link, Client: arm.Client, Server: arm.Server, Strict: c.Strict, Machine: c.Machine,
		keys: keys, applied: !arm.Ablated,
	}
	l.Link.Seed = seed // so the link of a round loses the same packets under each profile
	var remains *namespace.Remains
	told := obs.Lab
	obs.Lab = func(v *stage.Venue) error {
		if remains, purged = v.Remains(); told != nil {
			return told(v)
		}
		return nil
	}
	r, err = Run(ctx, c.Scenario, Where{Lab: l}, o, obs)
	if remains != nil {
		if err == nil {
			purged = remains.Wait(ctx, cmp.Or(c.purge, purgeLimit))
		}
		err = errors.Join(err, remains.Close())
	}
	return r, purged, err
}
