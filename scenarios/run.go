// Package scenarios runs scenarios: loads of one or several phases, and experiments with single
// connections, on this host or in a lab, once or in rounds. One run of a load is package stage's.
package scenarios

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"

	"tcpbench/internal/kernel/sockdiag"
	"tcpbench/internal/lab"
	"tcpbench/internal/machine"
	"tcpbench/internal/pcap"
	"tcpbench/metrics"
	"tcpbench/scenarios/expect"
	"tcpbench/scenarios/experiment/bench"
	"tcpbench/scenarios/file"
	"tcpbench/scenarios/stage"
	"tcpbench/scenarios/workload"
)

// Where says where a scenario runs.
type Where struct {
	// Lab is what the run's labs have on top of the scenario's own. If it is nil, the scenario
	// runs in a lab without additions if it requires one, and otherwise on this host.
	Lab *Lab
	// NoLab is why a claim that has a lab is shown on loopback, for the result.
	NoLab string
}

// Lab says how to make the labs of a run.
type Lab struct {
	Link           lab.Link
	Client, Server *machine.Profile // nil is the kernel's default
	// Strict refuses to run if a setting is not as its profile says.
	Strict bool
	// Machine is where settings are changed that no namespace has of its own; nil leaves them.
	Machine *machine.Machine
	// Allow is asked before such settings are changed; its error ends the run. Nil allows them.
	Allow func(keys []string) error
	// Capture takes the packets of the labs; nil is none.
	Capture *pcap.Capture

	keys    []string // whose values the result shows of both hosts
	applied bool     // refuse to run if the kernel takes no line of a profile
}

// Options are how a scenario is run.
type Options struct {
	Overrides []workload.Setting   // flags of the command line
	Expect    []*expect.Expression // besides those of the scenario
	Trace     bool                 // ask the kernel's tracepoints about an experiment; a load has the flag bpf
	// Tool and Command go into the result as they are.
	Tool    metrics.Tool
	Command []string

	seed     *uint64 // of arrivals, in place of the plan's
	unjudged bool    // no verdict on the claim
}

// Observer is told of a run while it goes on; nil functions are not called.
type Observer struct {
	stage.Observer
	// Lab is called with each lab before a load or an experiment begins in it. An error ends the run.
	Lab func(*stage.Venue) error
	// Phase is called before each phase of a load.
	Phase func(*PhasePlan)
	// Event is called with each event of an experiment.
	Event func(metrics.Event)
	// Waiting is called if the run must wait for room in the table of sockets in TIME_WAIT.
	Waiting func()
}

// A StrictError says which settings are not as their profile says.
type StrictError struct{ error }

func (e StrictError) Unwrap() error { return e.error }

// Plan plans the phases of the scenario there; an experiment has none. An error is one of the
// command line or of the file (Misuse), and nothing has been done.
func Plan(ctx context.Context, s *Scenario, w Where, overrides []workload.Setting) ([]PhasePlan, error) {
	plans, err := s.Plans(ctx, overrides)
	if err != nil {
		return nil, err
	}
	for i := range plans {
		switch {
		case plans[i].Plan.Server != nil:
		case w.Lab != nil || s.Requires().Lab:
			return nil, errors.New("--target cannot be used in a lab: only the run's own server is there; leave it out")
		case s.Phenomenon.OnLoopback():
			return nil, errors.New("--target cannot be used to show a claim: it is shown with the run's own server; leave it out")
		}
	}
	return plans, nil
}

// Run runs the scenario once and judges the result: what is expected of it, and what it claims.
// When ctx ends, the result holds what was measured so far. An error means that there is no
// result, except that one may come with an error from putting the machine and the lab back.
func Run(ctx context.Context, s *Scenario, w Where, o Options, obs Observer) (r *metrics.Result, failed error) {
	plans, err := Plan(ctx, s, w, o.Overrides)
	if err != nil {
		return nil, err
	}
	if w.Lab == nil && s.Requires().Lab {
		w.Lab = &Lab{}
	}
	var venue *stage.Venue
	if w.Lab != nil && !s.OwnLabs() {
		if venue, err = w.Lab.enter(s.Phenomenon, obs); err != nil {
			return nil, err
		}
		defer func() { failed = errors.Join(failed, venue.Close()) }()
	}
	if err := awaitRoom(ctx, s.Phenomenon, obs.Waiting); err != nil {
		return nil, err
	}
	if s.Experiment() {
		r, err = perform(ctx, s, venue, o, obs)
	} else {
		r, err = load(ctx, s, w.Lab, venue, plans, o, obs)
	}
	if err != nil {
		return nil, err
	}
	r.Tool, r.Command = o.Tool, o.Command
	p := s.Phenomenon
	if w.NoLab != "" {
		r.Loopback = p.Loopback.Report(w.NoLab)
	}
	if !o.unjudged && p != nil && !p.Benchmark() && (!p.Host || len(o.Overrides) == 0) {
		r.Verdict = p.Judge(r)
	}
	return r, nil
}

// perform does the scenario's experiment in the venue, or on loopback if that is nil.
func perform(ctx context.Context, s *Scenario, v *stage.Venue, o Options, obs Observer) (*metrics.Result, error) {
	var ports []sockdiag.Ports
	if o.Trace {
		ports = []sockdiag.Ports{bench.Ports}
	}
	return stage.Perform(ctx, s.Name, v, ports, func(ctx context.Context) (*metrics.Experiment, error) {
		e := *s.Phenomenon.Experiment
		if v != nil {
			return e.Run(ctx, v.Lab, obs.Event)
		}
		e.Options = [2]bench.Options{s.Phenomenon.Loopback.Client, s.Phenomenon.Loopback.Server}
		return e.Run(ctx, nil, obs.Event)
	})
}

// load runs the phases, one after the other, and judges what was expected of each and of all.
// The run's own server keeps its addresses, unless each phase has a lab of its own.
func load(ctx context.Context, s *Scenario, l *Lab, v *stage.Venue, plans []PhasePlan, o Options, obs Observer) (*metrics.Result, error) {
	var phases []metrics.Phase
	var held []netip.AddrPort
	for i := range plans {
		one := &plans[i]
		p := &one.Plan
		if len(phases) > 0 && ctx.Err() != nil {
			break
		}
		if p.Server != nil && one.Phenomenon == nil && len(held) == p.CrewSize()*len(p.Server.Addrs) {
			p.Server.Addrs = held
		}
		p.Lab, p.Tool, p.Command = v, o.Tool, o.Command
		if o.seed != nil {
			p.Client.Seed = *o.seed
		}
		if obs.Phase != nil {
			obs.Phase(one)
		}
		r, err := runStage(ctx, one, l, obs)
		if err != nil {
			if len(plans) > 1 {
				err = fmt.Errorf("phase %s: %w", one.Name, err)
			}
			return nil, err
		}
		r.Expectations = expect.JudgeAll(one.Expect, r)
		if p.Server != nil {
			held = addresses(r.Scenario.Target)
		}
		phases = append(phases, metrics.Phase{Name: one.Name, Why: one.Why, Costs: one.Costs, Result: *r})
	}
	r := &phases[0].Result
	if len(plans) > 1 {
		var err error
		if r, err = metrics.Combine(phases); err != nil {
			return nil, err
		}
		for _, one := range plans[len(phases):] {
			r.Flags = append(r.Flags, metrics.Flag{Name: "interrupted", Why: fmt.Sprintf("The phase %s did not run.", one.Name)})
		}
	}
	r.Expectations = append(append(r.Expectations, expect.JudgeAll(s.Expect, r)...), expect.JudgeAll(o.Expect, r)...)
	return r, nil
}

// runStage runs the phase, in a lab of its own if it wants one.
func runStage(ctx context.Context, s *PhasePlan, l *Lab, obs Observer) (r *metrics.Result, failed error) {
	if s.Phenomenon != nil {
		v, err := l.enter(s.Phenomenon, obs)
		if err != nil {
			return nil, err
		}
		defer func() { failed = errors.Join(failed, v.Close()) }()
		s.Plan.Lab = v
	}
	return stage.Run(ctx, s.Plan, obs.Observer)
}

// Open makes a lab without a scenario. Closing it puts the machine back, too.
func (l *Lab) Open() (*stage.Venue, error) { return l.enter(nil, Observer{}) }

// enter makes a lab as the scenario wants it, with what l has on top.
func (l *Lab) enter(p *file.Phenomenon, obs Observer) (*stage.Venue, error) {
	none := &machine.Profile{Name: machine.KernelDefault}
	v, err := p.Venue(l.Link, cmp.Or(l.Client, none), cmp.Or(l.Server, none))
	if err != nil {
		return nil, err
	}
	if err := l.prepare(v, obs); err != nil {
		return nil, errors.Join(err, v.Close())
	}
	return v, nil
}

func (l *Lab) prepare(v *stage.Venue, obs Observer) error {
	if l.Machine != nil {
		if keys := v.OfMachine(); l.Allow != nil && len(keys) > 0 {
			if err := l.Allow(keys); err != nil {
				return err
			}
		}
		if err := v.ChangeMachine(l.Machine); err != nil {
			return err
		}
	}
	if l.Capture != nil {
		if err := v.Record(l.Capture); err != nil {
			return err
		}
	}
	if len(l.keys) > 0 {
		if err := v.Look(l.keys); err != nil {
			return err
		}
	}
	if err := v.Strict(); l.Strict && err != nil {
		return StrictError{err}
	}
	if err := v.Void(); l.applied && err != nil {
		return err
	}
	if obs.Lab != nil {
		return obs.Lab(v)
	}
	return nil
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
