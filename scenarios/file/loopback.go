package file

import (
	"slices"
	"strings"
	"time"

	"tcpbench/metrics"
	"tcpbench/scenarios/experiment"
	"tcpbench/scenarios/stage"
)

// Loopback is how a scenario that is made for a lab is shown on this host's loopback, where
// no lab can be had: with other evidence, because nothing is seen of segments there and no
// setting of the host is changed.
type Loopback struct {
	// Evidence is what decides in place of a lab's segments and counters.
	Evidence string
	// Client and Server are options of all sockets of a side, in an experiment.
	Client, Server experiment.Options

	whole *Scenario // as it is run there
}

// Scenario is the scenario as it is run on loopback.
func (l *Loopback) Scenario() *Scenario { return l.whole }

// OnLoopback makes the scenario the one that is shown on this host's loopback, and tells
// whether there is one.
func (s *Scenario) OnLoopback() bool {
	if s.Phenomenon == nil || s.Phenomenon.Loopback == nil {
		return false
	}
	*s = *s.Phenomenon.Loopback.whole
	return true
}

// OnLoopback tells whether this is the form that is shown on this host's loopback.
func (p *Phenomenon) OnLoopback() bool { return p != nil && p.onLoopback }

// Report is how a result tells of it; why is why there is no lab.
func (l *Loopback) Report(why string) *metrics.Loopback {
	return &metrics.Loopback{Why: why, Evidence: l.Evidence, Client: l.Client.Texts(), Server: l.Server.Texts()}
}

// readLoopback takes the key loopback of a scenario whose other keys have been read.
func (s *Scenario) readLoopback(root mapping) error {
	n, ok := root.find("loopback")
	if !ok {
		return nil
	}
	p := s.Phenomenon
	m, err := n.mapping("how the claim is shown on loopback: evidence, and what differs from a lab")
	if err != nil {
		return err
	}
	keys := []string{"evidence", "steps", "takes", "conditions", "verdict"}
	if p.Experiment != nil {
		keys = append(keys, "client", "server")
	} else {
		keys = append(keys, "run", "phases")
	}
	switch {
	case p.Host:
		return m.errorf("the scenario loads this host in any case: leave loopback or host out")
	case p.Experiment != nil && !p.Experiment.OnLoopback():
		return m.errorf("the experiment %s needs a lab: leave loopback out", p.Experiment.Name)
	}
	if err := m.only(keys...); err != nil {
		return err
	}
	l := &Loopback{}
	text, err := m.text("evidence")
	if err != nil {
		return err
	}
	if l.Evidence = strings.Join(strings.Fields(text), " "); l.Evidence == "" {
		return m.errorf("say what decides in place of a lab's segments and counters: add evidence")
	}
	for key, to := range map[string]*experiment.Options{"client": &l.Client, "server": &l.Server} {
		if *to, err = socketOptions(m, key); err != nil {
			return err
		}
	}
	p.Loopback = l
	l.whole, err = s.readOnLoopback(m)
	return err
}

// readOnLoopback is the scenario with what differs on loopback. There is no lab whose settings
// and link could be as the scenario wants them, and so no real parameters of these either.
func (s *Scenario) readOnLoopback(m mapping) (*Scenario, error) {
	own, p := *s, *s.Phenomenon
	own.Phenomenon = &p
	p.onLoopback, p.Setup, p.realistic, p.Scaled = true, Setup{}, nil, nil
	more, err := settings(m, "run")
	if err != nil {
		return nil, err
	}
	for _, set := range s.Run {
		if !slices.ContainsFunc(more, func(m Setting) bool { return m.Name == set.Name }) {
			more = append(more, set)
		}
	}
	own.Run = more
	items, err := m.list("phases")
	if err != nil {
		return nil, err
	}
	own.Phases = nil
	for _, item := range items {
		ph, err := own.readPhase(item)
		if err != nil {
			return nil, err
		}
		if ph.Setup != nil {
			return nil, item.errorf("a phase on loopback has no lab: leave lab out")
		}
		own.Phases = append(own.Phases, ph)
	}
	if len(items) == 0 {
		for _, ph := range s.Phases {
			ph.Setup = nil
			own.Phases = append(own.Phases, ph)
		}
	}
	if steps, err := m.texts("steps"); err != nil {
		return nil, err
	} else if len(steps) > 0 {
		p.Steps = steps
	}
	if _, ok := m.find("takes"); ok {
		if p.Takes, err = takes(m); err != nil {
			return nil, err
		}
	}
	if _, ok := m.find("verdict"); ok {
		if p.verdict, err = expectationsOf(m, "verdict", own.phaseNames()); err != nil {
			return nil, err
		}
	}
	if _, ok := m.find("conditions"); ok {
		if p.conditions, err = conditionsOf(m, own.phaseNames()); err != nil {
			return nil, err
		}
	}
	return &own, own.Check(nil)
}

// socketOptions reads a mapping of socket options.
func socketOptions(m mapping, key string) (experiment.Options, error) {
	n, ok := m.find(key)
	if !ok {
		return nil, nil
	}
	inner, err := n.mapping("socket options, as in SO_RCVBUF: 4096")
	if err != nil {
		return nil, err
	}
	all := experiment.Options{}
	for _, name := range inner.keys {
		text, err := inner.text(name)
		if err != nil {
			return nil, err
		}
		if all[name], err = experiment.ParseOption(name, text); err != nil {
			return nil, inner.errorAt(name, "%v", err)
		}
	}
	return all, nil
}

// readFreeze reads the key freeze of a phase; nil is one without.
func (s *Scenario) readFreeze(m mapping) (*stage.Freeze, error) {
	n, ok := m.find("freeze")
	if !ok {
		return nil, nil
	}
	inner, err := n.mapping("a side and a time, as in {side: server, at: 500ms, for: 1s}")
	if err != nil {
		return nil, err
	}
	if err := inner.only("side", "at", "for"); err != nil {
		return nil, err
	}
	f := &stage.Freeze{}
	text, err := inner.text("side")
	if err != nil {
		return nil, err
	}
	if f.Side = stage.Side(text); f.Side != stage.Client && f.Side != stage.Server {
		return nil, inner.errorf("%q: want side: client or side: server", text)
	}
	for key, to := range map[string]*time.Duration{"at": &f.At, "for": &f.For} {
		text, err := inner.text(key)
		if err != nil {
			return nil, err
		}
		if *to, err = time.ParseDuration(text); err != nil || *to <= 0 {
			return nil, inner.errorf("%q: want %s with a time of more than 0, as in 500ms", text, key)
		}
	}
	return f, nil
}
