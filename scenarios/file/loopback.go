package file

import (
	"slices"

	"tcpbench/metrics"
	"tcpbench/scenarios/experiment/bench"
	"tcpbench/scenarios/stage"
	"tcpbench/scenarios/workload"
)

// Loopback is how a scenario for a lab is shown on this host's loopback if no lab can be made. It
// needs other evidence: segments cannot be seen there, and no setting of the host is changed.
type Loopback struct {
	// Evidence is what decides instead of a lab's segments and counters.
	Evidence string
	// Client and Server are options of all sockets of a side, in an experiment.
	Client, Server bench.Options

	whole *Scenario // as it runs there
}

// Scenario is the scenario as it runs on loopback.
func (l *Loopback) Scenario() *Scenario { return l.whole }

// OnLoopback makes the scenario its form for loopback. It returns false if there is none.
func (s *Scenario) OnLoopback() bool {
	if s.Phenomenon == nil || s.Phenomenon.Loopback == nil {
		return false
	}
	*s = *s.Phenomenon.Loopback.whole
	return true
}

// OnLoopback tells whether this is the form for loopback.
func (p *Phenomenon) OnLoopback() bool { return p != nil && p.onLoopback }

// Report describes it in a result; why is why there is no lab.
func (l *Loopback) Report(why string) *metrics.Loopback {
	return &metrics.Loopback{Why: why, Evidence: l.Evidence, Client: l.Client.Texts(), Server: l.Server.Texts()}
}

// readLoopback reads what differs on loopback. There is no lab with settings and a link, so there
// are no real parameters of these either.
func (s *Scenario) readLoopback(n node) error {
	m, err := n.mapping("how the claim is shown on loopback: evidence, and what differs from a lab")
	if err != nil {
		return err
	}
	whole, p, l := *s, *s.Phenomenon, &Loopback{}
	l.whole, whole.Phenomenon, whole.Phases = &whole, &p, slices.Clone(s.Phases)
	s.Phenomenon.Loopback, p.Loopback = l, l
	p.onLoopback, p.Setup, p.Scaled = true, Setup{}, nil
	for i := range whole.Phases {
		whole.Phases[i].Setup = nil
	}
	var more []workload.Setting
	fields := []field{{"evidence", line(&l.Evidence)}, {"steps", lines(&p.Steps)}, {"takes", p.readTakes}}
	switch {
	case p.Host:
		return m.errorf("the scenario loads this host in any case: leave loopback or host out")
	case p.Experiment == nil:
		fields = append(fields, field{"run", flags(&more)}, field{"phases", func(n node) error {
			whole.Phases = nil
			return list(whole.readPhase)(n)
		}})
	case !p.Experiment.OnLoopback():
		return m.errorf("the experiment %s needs a lab: leave loopback out", p.Experiment.Name)
	default:
		fields = append(fields, field{"client", options(&l.Client)}, field{"server", options(&l.Server)})
	}
	fields = append(fields, field{"verdict", whole.expressions(&p.verdict, true)}, field{"conditions", whole.readConditions(&p)})
	if err := m.read(fields...); err != nil {
		return err
	}
	if l.Evidence == "" {
		return m.errorf("say what decides in place of a lab's segments and counters: add evidence")
	}
	for _, set := range s.Run {
		if !slices.ContainsFunc(more, func(m workload.Setting) bool { return m.Name == set.Name }) {
			more = append(more, set)
		}
	}
	whole.Run = more
	return whole.Check(nil)
}

// options reads a mapping of socket options.
func options(to *bench.Options) reader {
	return func(n node) error {
		*to = bench.Options{}
		return entries("socket options, as in SO_RCVBUF: 4096", func(name string) reader {
			return scalar(func(text string) (err error) {
				(*to)[name], err = bench.ParseOption(name, text)
				return err
			})
		})(n)
	}
}

// readOwnLab reads the key lab of a phase.
func (s *Scenario) readOwnLab(p *Phase) reader {
	return func(n node) error {
		switch {
		case s.Phenomenon == nil:
			return n.errorf("a phase has a lab of its own in a scenario that claims something: add claim, or leave lab out and use tcpbench lab")
		case s.Phenomenon.onLoopback:
			return n.errorf("a phase on loopback has no lab: leave lab out")
		}
		p.Setup = &Setup{}
		return p.Setup.read(n)
	}
}

// readFreeze reads the key freeze of a phase.
func (s *Scenario) readFreeze(p *Phase) reader {
	return func(n node) error {
		if s.Phenomenon == nil || !s.Phenomenon.Host && !s.Phenomenon.onLoopback {
			return n.errorf("only a phase of loopback or of this host stops processes: in a lab the link can be cut, by lab and timeline")
		}
		m, err := n.mapping("a side and a time, as in {side: server, at: 500ms, for: 1s}")
		if err != nil {
			return err
		}
		f := &stage.Freeze{}
		const positive = "a time of more than 0, as in 500ms"
		if err := m.read(field{"side", line((*string)(&f.Side))}, field{"at", span(&f.At, positive)}, field{"for", span(&f.For, positive)}); err != nil {
			return err
		}
		switch {
		case f.Side != stage.Client && f.Side != stage.Server:
			return m.errorf("%q: want side: client or side: server", f.Side)
		case f.At == 0:
			return m.errorf("want at with %s", positive)
		case f.For == 0:
			return m.errorf("want for with %s", positive)
		}
		p.Freeze = f
		return nil
	}
}
