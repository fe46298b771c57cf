package file

import (
	"slices"
	"strings"
	"time"

	"tcpbench/internal/machine"
	"tcpbench/internal/values"
	"tcpbench/scenarios/experiment"
)

// phenomenonKeys are those of a file that claims something; all of them must be there but for
// conditions, host, lab, experiment, realistic and loopback. A benchmark of this host has neither
// claim nor verdict.
var phenomenonKeys = []string{"claim", "steps", "lab", "takes", "host", "experiment", "scaled", "realistic", "loopback", "conditions", "verdict", "production"}

// readPhenomenon takes the keys of a claim, if the file makes one.
func (s *Scenario) readPhenomenon(root mapping) error {
	claimed := slices.ContainsFunc(root.keys, func(key string) bool { return slices.Contains(phenomenonKeys, key) })
	if !claimed {
		return nil
	}
	p := &Phenomenon{}
	host, err := root.text("host")
	if err != nil {
		return err
	}
	_, verdict := root.find("verdict")
	_, claims := root.find("claim")
	benchmark := host != "" && !claims && !verdict
	for key, to := range map[string]*string{"claim": &p.Claim, "production": &p.Production} {
		text, err := root.text(key)
		if err != nil {
			return err
		}
		if *to = strings.Join(strings.Fields(text), " "); *to == "" && !(benchmark && key == "claim") {
			return root.errorf("a scenario with a verdict has a claim and what it means in production: add %s", key)
		}
	}
	if p.Takes, err = takes(root); err != nil {
		return err
	}
	if p.Steps, err = root.texts("steps"); err != nil {
		return err
	}
	if len(p.Steps) == 0 {
		return root.errorf("a claim without steps: add what is done, as in steps: [many connections at once]")
	}
	if p.verdict, err = expectationsOf(root, "verdict", s.phaseNames()); err != nil {
		return err
	}
	if len(p.verdict) == 0 && !benchmark {
		return root.errorf("a claim without a verdict: add expressions that decide, as in verdict: [failed > 0]")
	}
	if p.conditions, err = conditionsOf(root, s.phaseNames()); err != nil {
		return err
	}
	if err := p.readLab(root); err != nil {
		return err
	}
	switch _, inLab := root.find("lab"); {
	case host != "" && host != "true":
		return root.errorAt("host", "%q: want true, or leave it out for a lab", host)
	case host != "" && (inLab || s.OwnLabs()):
		return root.errorAt("host", "this host, or a lab: leave one of them out")
	}
	p.Host = host != ""
	if err := s.readExperiment(root, p); err != nil {
		return err
	}
	if err := s.readRealistic(root, p); err != nil {
		return err
	}
	s.Phenomenon = p
	return s.readLoopback(root)
}

// conditionsOf reads what must hold of a run before its evidence decides, by what is wrong
// otherwise.
func conditionsOf(m mapping, phases []string) (all []condition, err error) {
	n, ok := m.find("conditions")
	if !ok {
		return nil, nil
	}
	inner, err := n.mapping("expressions by what is wrong if they do not hold, as in too slow to tell: attempted >= 1000")
	if err != nil {
		return nil, err
	}
	for _, otherwise := range inner.keys {
		e, err := expectationOf(inner.values[otherwise], phases)
		if err != nil {
			return nil, err
		}
		all = append(all, condition{e, otherwise})
	}
	return all, nil
}

func takes(m mapping) (time.Duration, error) {
	text, err := m.text("takes")
	if err != nil {
		return 0, err
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		if _, ok := m.find("takes"); !ok {
			return 0, m.errorf("add takes, about how long it takes, as in takes: 4s")
		}
		return 0, m.errorAt("takes", "%q: want about how long it takes, as in 4s", text)
	}
	return d, nil
}

// readExperiment takes the name of what is done in place of a load.
func (s *Scenario) readExperiment(root mapping, p *Phenomenon) error {
	if _, ok := root.find("experiment"); !ok {
		return nil
	}
	name, err := root.text("experiment")
	if err != nil {
		return err
	}
	e, ok := experiment.Find(name)
	switch {
	case !ok:
		if near := values.Nearest(name, experiment.Names()); near != "" {
			return root.errorAt("experiment", "no experiment %q: did you mean %s?", name, near)
		}
		return root.errorAt("experiment", "no experiment %q: there are %s", name, strings.Join(experiment.Names(), ", "))
	case p.Host:
		return root.errorAt("experiment", "an experiment needs a lab: leave host out")
	case len(s.Run) > 0 || len(s.Phases) > 0:
		return root.errorAt("experiment", "an experiment stands in place of a load: leave run and phases out")
	case len(s.Expect) > 0:
		return root.errorAt("expect", "what decides about an experiment is its verdict: write it there")
	}
	p.Experiment = e
	p.Link.Gated = true
	return nil
}

// readRealistic takes what is made small or large to save time, and what differs with real
// parameters.
func (s *Scenario) readRealistic(root mapping, p *Phenomenon) (err error) {
	if p.Scaled, err = root.texts("scaled"); err != nil {
		return err
	}
	n, ok := root.find("realistic")
	switch {
	case !ok:
		return nil
	case len(p.Scaled) == 0:
		return root.errorAtKey("realistic", "say what is not real without it, and by how much: add scaled, as in scaled: [ten local ports for 28232]")
	}
	m, err := n.mapping("what differs with real parameters: steps, lab, run, phases, interval and takes")
	if err != nil {
		return err
	}
	if err := m.only("steps", "lab", "run", "phases", "interval", "takes"); err != nil {
		return err
	}
	v := &variation{}
	if v.takes, err = takes(m); err != nil {
		return err
	}
	if v.setup, err = readSetup(m); err != nil {
		return err
	}
	v.setup.Link.Gated = p.Link.Gated
	if v.steps, err = m.texts("steps"); err != nil {
		return err
	}
	if len(v.steps) == 0 {
		v.steps = p.Steps
	}
	if v.run, err = settings(m, "run"); err != nil {
		return err
	}
	if v.interval, err = m.interval(p.Experiment); err != nil {
		return err
	}
	if v.phases, err = s.readVariations(m); err != nil {
		return err
	}
	p.realistic = v
	return nil
}

// interval reads the time between the heartbeats of an experiment; zero leaves it as it is.
func (m mapping) interval(e *experiment.Experiment) (time.Duration, error) {
	text, err := m.text("interval")
	if text == "" || err != nil {
		return 0, err
	}
	if e == nil || e.Interval == 0 {
		return 0, m.errorAtKey("interval", "only an experiment with heartbeats has an interval: leave it out")
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return 0, m.errorAt("interval", "%q: want the time between two heartbeats, as in 5s", text)
	}
	return d, nil
}

// readVariations reads what differs in phases with real parameters, by the name of the phase.
func (s *Scenario) readVariations(m mapping) ([]Phase, error) {
	n, ok := m.find("phases")
	if !ok {
		return nil, nil
	}
	all, err := n.mapping("what differs by the names of phases, as in peak: {rate: 5k}")
	if err != nil {
		return nil, err
	}
	var phases []Phase
	for _, name := range all.keys {
		if !slices.Contains(s.phaseNames(), name) {
			return nil, all.errorAtKey(name, "no phase is called %q: it has %s", name, strings.Join(s.phaseNames(), ", "))
		}
		one, err := all.values[name].mapping("what differs in the phase, as in rate: 5k")
		if err != nil {
			return nil, err
		}
		v := Phase{Name: name}
		if v.Run, err = one.settings("lab"); err != nil {
			return nil, err
		}
		setup, err := readSetup(one)
		if err != nil {
			return nil, err
		}
		v.Setup = &setup
		phases = append(phases, v)
	}
	return phases, nil
}

func (p *Phenomenon) readLab(root mapping) (err error) {
	p.Setup, err = readSetup(root)
	return err
}

// sysctls reads a mapping of kernel settings.
func sysctls(m mapping, key string) (all []machine.Setting, err error) {
	n, ok := m.find(key)
	if !ok {
		return nil, nil
	}
	inner, err := n.mapping("kernel settings, as in net.ipv4.tcp_tw_reuse: 0")
	if err != nil {
		return nil, err
	}
	for _, name := range inner.keys {
		value, err := inner.text(name)
		if err != nil {
			return nil, err
		}
		s, err := machine.ParseSetting(name + " = " + value)
		if err != nil {
			return nil, inner.errorAt(name, "%v", err)
		}
		all = append(all, s)
	}
	return all, nil
}
