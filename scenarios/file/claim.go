package file

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"tcpbench/internal/values"
	"tcpbench/scenarios/experiment"
	"tcpbench/scenarios/workload"
)

// complete refuses a claim that lacks something. A benchmark of this host has neither claim nor
// verdict.
func (s *Scenario) complete(root mapping) error {
	p := s.Phenomenon
	claims := slices.Contains(root.keys, "claim") || slices.Contains(root.keys, "verdict")
	benchmark := p.Host && !claims
	const both = "a scenario with a verdict has a claim and what it means in production: add %s"
	switch {
	case p.Claim == "" && !benchmark:
		return root.errorf(both, "claim")
	case p.Production == "":
		return root.errorf(both, "production")
	case p.Takes == 0:
		return root.errorf(addTakes)
	case len(p.Steps) == 0:
		return root.errorf("a claim without steps: add what is done, as in steps: [many connections at once]")
	case len(p.verdict) == 0 && !benchmark:
		return root.errorf("a claim without a verdict: add expressions that decide, as in verdict: [failed > 0]")
	case p.Host && (slices.Contains(root.keys, "lab") || s.OwnLabs()):
		return root.values["host"].errorf("this host and a lab exclude each other: leave one of them out")
	}
	return nil
}

const addTakes = "add takes, about how long it takes, as in takes: 4s"

func (p *Phenomenon) readTakes(n node) error {
	return span(&p.Takes, "about how long it takes, as in 4s")(n)
}

// readConditions reads what must hold of a run before its evidence decides, by what is wrong
// otherwise.
func (s *Scenario) readConditions(p *Phenomenon) reader {
	return func(n node) error {
		p.conditions = nil
		return entries("expressions by what is wrong if they do not hold, as in too slow to tell: attempted >= 1000", func(otherwise string) reader {
			return func(n node) error {
				e, err := expression(n, s.phaseNames())
				p.conditions = append(p.conditions, condition{e, otherwise})
				return err
			}
		})(n)
	}
}

// readExperiment reads the name of what is done instead of a load.
func (s *Scenario) readExperiment(n node) error {
	return scalar(func(name string) error {
		e, ok := experiment.Find(name)
		near := values.Nearest(name, experiment.Names())
		switch {
		case !ok && near != "":
			return fmt.Errorf("no experiment %q: did you mean %s?", name, near)
		case !ok:
			return fmt.Errorf("no experiment %q: there are %s", name, strings.Join(experiment.Names(), ", "))
		case s.Phenomenon.Host:
			return errors.New("an experiment needs a lab: leave host out")
		case len(s.Run) > 0 || len(s.Phases) > 0:
			return errors.New("an experiment stands in place of a load: leave run and phases out")
		case len(s.Expect) > 0:
			return errors.New("an experiment has no expect: what decides is its verdict, so write it there")
		}
		s.Phenomenon.Experiment, s.Phenomenon.Link.Gated = e, true
		return nil
	})(n)
}

// readRealistic reads what differs with real parameters: the scenario without those that save time.
func (s *Scenario) readRealistic(n node) error {
	if len(s.Phenomenon.Scaled) == 0 {
		return n.errorf("say what is not real without it, and by how much: add scaled, as in scaled: [ten local ports for 28232]")
	}
	m, err := n.mapping("what differs with real parameters: steps, lab, run, phases, interval and takes")
	if err != nil {
		return err
	}
	whole, p := *s, *s.Phenomenon
	whole.Phenomenon, whole.Phases = &p, slices.Clone(s.Phases)
	p.Takes, p.Scaled, p.Setup = 0, nil, Setup{}
	p.Link.Gated = s.Phenomenon.Link.Gated
	var more []workload.Setting
	err = m.read(
		field{"takes", p.readTakes}, field{"lab", p.Setup.read}, field{"steps", lines(&p.Steps)}, field{"run", flags(&more)},
		field{"interval", p.readInterval},
		field{"phases", entries("what differs by the names of phases, as in peak: {rate: 5k}", whole.readVariation)},
	)
	if err != nil {
		return err
	}
	if p.Takes == 0 {
		return m.errorf(addTakes)
	}
	whole.Run = slices.Concat(s.Run, more)
	s.Phenomenon.realistic = &whole
	return whole.Check(nil)
}

// readInterval reads the time between the heartbeats of an experiment.
func (p *Phenomenon) readInterval(n node) error {
	var d time.Duration
	if p.Experiment == nil || p.Experiment.Interval == 0 {
		return n.errorf("only an experiment with heartbeats has an interval: leave it out")
	}
	if err := span(&d, "the time between two heartbeats, as in 5s")(n); err != nil {
		return err
	}
	e := *p.Experiment
	e.Interval, p.Experiment = d, &e
	return nil
}

// readVariation reads what differs in the phase of that name.
func (s *Scenario) readVariation(name string) reader {
	return func(n node) error { return s.vary(name, n) }
}

func (s *Scenario) vary(name string, n node) error {
	i := slices.Index(s.phaseNames(), name)
	if i < 0 {
		return n.errorf("no phase is called %q: it has %s", name, strings.Join(s.phaseNames(), ", "))
	}
	m, err := n.mapping("what differs in the phase, as in rate: 5k")
	if err != nil {
		return err
	}
	more, err := m.settings("lab")
	if err != nil {
		return err
	}
	var setup Setup
	if err := m.take(field{"lab", setup.read}); err != nil {
		return err
	}
	p := &s.Phases[i]
	p.Run = slices.Concat(p.Run, more)
	if p.Setup != nil {
		setup = p.Setup.on(setup)
		p.Setup = &setup
	}
	return nil
}
