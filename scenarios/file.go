package scenarios

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"tcpbench/scenarios/expect"
	"tcpbench/scenarios/stage"
)

// Scenario is a scenario file that was read: workloads in the words of their flags, one
// after the other, and what is to hold of the result.
type Scenario struct {
	Name    string
	Summary string
	Why     string
	// Phenomenon is what the scenario claims; nil where it claims nothing.
	Phenomenon *Phenomenon
	// Text is the file itself.
	Text []byte

	file   string // as errors name it
	run    []setting
	phases []phase
	expect []*expect.Expression
}

// phase is one run of several.
type phase struct {
	name   string
	why    string
	costs  string
	run    []setting     // what differs from the scenario's
	setup  *Setup        // of a lab of its own, with what the scenario's has
	freeze *stage.Freeze // of the processes of a side, on loopback or this host
	expect []*expect.Expression
}

// setting is a flag that a file sets.
type setting struct {
	name, value string
	key, at     position // where the name stands, and the value
}

// An Override is a flag of the command line. It counts more than the file's.
type Override struct{ Name, Value string }

// A Stage is one run of a scenario: the plan, and what is to hold of its result.
type Stage struct {
	Name   string // of the phase; empty where the scenario is one run
	Why    string // what the phase is to show
	Costs  string // the price of what it does
	Plan   stage.Plan
	Expect []*expect.Expression
	// Gone is what the file sets that has given way to the command line, in the words of flags.
	Gone []string
	// Phenomenon has the lab that the stage wants for itself; nil is the scenario's.
	Phenomenon *Phenomenon
	// Load is what the file sets for this stage alone, and Own what its lab has on top.
	Load []string
	Own  *Setup
	// Open makes that lab when its turn comes.
	Open func() (*stage.Venue, error)
}

// Expectations are those of the whole scenario.
func (s *Scenario) Expectations() []*expect.Expression { return slices.Clone(s.expect) }

// Expected is the number of all expectations, those of the phases included.
func (s *Scenario) Expected() int {
	n := len(s.expect)
	for _, p := range s.phases {
		n += len(p.expect)
	}
	return n
}

// Experiment tells whether single connections are looked at, in place of a load.
func (s *Scenario) Experiment() bool { return s.Phenomenon != nil && s.Phenomenon.Experiment != nil }

// Phases is the number of runs.
func (s *Scenario) Phases() int { return max(1, len(s.phases)) }

// largestFile is more than anybody writes by hand.
const largestFile = 64 << 10

// ReadScenario reads a scenario file; name is what errors call it. Every mistake in it
// is an error with its line and column, but for those that only show together with the
// flags of a command line, which Stages finds.
func ReadScenario(name string, r io.Reader) (*Scenario, error) {
	text, err := io.ReadAll(io.LimitReader(r, largestFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	case len(text) > largestFile:
		return nil, fmt.Errorf("%s: a scenario has %d bytes at most: is it another kind of file?", name, largestFile)
	}
	s := &Scenario{Text: text, file: name}
	root, err := parseYAML(name, text)
	if err != nil {
		return nil, err
	}
	if err := s.read(root); err != nil {
		return nil, err
	}
	return s, s.checkLoads()
}

// read takes the keys of the file.
func (s *Scenario) read(root mapping) error {
	if err := root.only(append([]string{"name", "summary", "why", "run", "phases", "expect"}, phenomenonKeys...)...); err != nil {
		return err
	}
	for key, to := range map[string]*string{"name": &s.Name, "summary": &s.Summary, "why": &s.Why} {
		text, err := root.text(key)
		if err != nil {
			return err
		}
		*to = strings.TrimSpace(text)
	}
	if s.Name == "" {
		return root.errorf("no name: add one, as in name: my-scenario")
	}
	if strings.ContainsFunc(s.Name, func(r rune) bool { return r < '!' || r == 0x7f }) {
		return root.errorAt("name", "%q: want one word without spaces", s.Name)
	}
	var err error
	if s.run, err = settings(root, "run"); err != nil {
		return err
	}
	if s.expect, err = expectations(root); err != nil {
		return err
	}
	phases, err := root.list("phases")
	if err != nil {
		return err
	}
	for _, item := range phases {
		p, err := s.readPhase(item)
		if err != nil {
			return err
		}
		s.phases = append(s.phases, p)
	}
	if err := s.readPhenomenon(root); err != nil {
		return err
	}
	for i, p := range s.phases {
		if p.freeze != nil && (s.Phenomenon == nil || !s.Phenomenon.Host) {
			m, _ := phases[i].mapping("")
			return m.errorAtKey("freeze", "only a phase of loopback or of this host stops processes: in a lab the link can be cut, by lab and timeline")
		}
		if p.setup != nil && s.Phenomenon == nil {
			m, _ := phases[i].mapping("")
			return m.errorAtKey("lab", "a phase has a lab of its own in a scenario that claims something: add claim, or leave lab out and use tcpbench lab")
		}
	}
	return nil
}

func (s *Scenario) phaseNames() (names []string) {
	for _, p := range s.phases {
		names = append(names, p.name)
	}
	return names
}

// onceForAll are the flags of the server, which is the same in all phases.
var onceForAll = []string{"target", "ports", "ipv4", "ipv6", "defer-accept", "server-keepalive", "server-user-timeout", "fastopen", "mptcp"}

func (s *Scenario) readPhase(n node) (phase, error) {
	var p phase
	m, err := n.mapping("a phase has a name and what differs from run, as in - name: peak")
	if err != nil {
		return p, err
	}
	if p.name, err = m.text("name"); err != nil {
		return p, err
	}
	switch {
	case p.name == "":
		return p, m.errorf("a phase has a name: add one, as in name: peak")
	case slices.ContainsFunc(s.phases, func(other phase) bool { return other.name == p.name }):
		return p, m.errorAt("name", "a second phase is called %q: give it another name", p.name)
	}
	if p.run, err = m.settings("name", "why", "costs", "lab", "freeze", "expect"); err != nil {
		return p, err
	}
	for key, to := range map[string]*string{"why": &p.why, "costs": &p.costs} {
		text, err := m.text(key)
		if err != nil {
			return p, err
		}
		*to = strings.Join(strings.Fields(text), " ")
	}
	if p.freeze, err = s.readFreeze(m); err != nil {
		return p, err
	}
	if _, ok := m.find("lab"); ok {
		setup, err := readSetup(m)
		if err != nil {
			return p, err
		}
		p.setup = &setup
	}
	for _, set := range p.run {
		if slices.Contains(onceForAll, set.name) && p.setup == nil {
			return p, s.errorf(set.key, "%s belongs to the server, which is the same in all phases without a lab of their own: put it under run", set.name)
		}
	}
	p.expect, err = expectations(m)
	return p, err
}

// settings reads a mapping of flags.
func settings(m mapping, key string) ([]setting, error) {
	n, ok := m.find(key)
	if !ok {
		return nil, nil
	}
	inner, err := n.mapping("flags by name, as in rate: 1k")
	if err != nil {
		return nil, err
	}
	return inner.settings()
}

// expectations reads the list of expressions that are to hold.
func expectations(m mapping) ([]*expect.Expression, error) { return expectationsOf(m, "expect", nil) }

// expectationsOf reads a list of expressions, in which names of phases may stand.
func expectationsOf(m mapping, key string, phases []string) ([]*expect.Expression, error) {
	items, err := m.list(key)
	if err != nil {
		return nil, err
	}
	var all []*expect.Expression
	for _, item := range items {
		e, err := expectationOf(item, phases)
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

// expectationOf reads an expression, in which names of phases may stand.
func expectationOf(n node, phases []string) (*expect.Expression, error) {
	text, err := n.text()
	if err != nil {
		return nil, err
	}
	e, err := expect.Parse(text, phases...)
	if err != nil {
		var at expect.Error
		errors.As(err, &at)
		where := n.at
		if n.plain { // else quotes and escapes stand between
			where.column += at.Column - 1
		}
		return nil, n.errorfAt(where, "%s", at)
	}
	return e, nil
}

func (s *Scenario) errorf(at position, format string, args ...any) error {
	return fmt.Errorf("%s:%d:%d: "+format, append([]any{s.file, at.line, at.column}, args...)...)
}

// locate adds to what is wrong with a phase's flags where the file sets them.
func (s *Scenario) locate(i int, err error) error {
	var m Misuse
	if !errors.As(err, &m) {
		return err
	}
	for _, set := range slices.Backward(s.settings(i)) {
		if set.name == m.Flag {
			return s.errorf(set.at, "%w", err)
		}
	}
	return err
}

// settings are all flags that the file sets for a phase, the phase's own last.
func (s *Scenario) settings(i int) []setting {
	if len(s.phases) == 0 {
		return s.run
	}
	return slices.Concat(s.run, s.phases[i].run)
}

// Preset makes the flags that a command line may set over those of the scenario. Their
// defaults are what its first phase sets. What is read is told by Overrides.
func (s *Scenario) Preset(f *pflag.FlagSet) {
	w := newWorkload(s.Name)
	w.Register(f)
	preset := s.settings(0)
	if s.Phenomenon != nil && s.Phenomenon.Host {
		preset = s.run
	}
	for _, set := range preset {
		_ = w.preset(set.name, set.value) // ReadScenario has done it before
		if flag := f.Lookup(set.name); flag != nil {
			flag.DefValue = flag.Value.String()
		}
	}
	f.VisitAll(func(flag *pflag.Flag) { flag.Value = &noted{Value: flag.Value} })
}

// Stages plans the runs of the scenario. Phases of this host show its claim; a command line makes
// another load of it, which has none.
func (s *Scenario) Stages(ctx context.Context, overrides []Override) ([]Stage, error) {
	if s.Experiment() {
		overrides = slices.DeleteFunc(slices.Clone(overrides), func(o Override) bool { return o.Name == "ipv4" || o.Name == "ipv6" })
		if len(overrides) > 0 {
			return nil, fmt.Errorf("--%s: %s is an experiment with single connections, and no load: leave it out", overrides[0].Name, s.Name)
		}
		return nil, nil
	}
	if s.Phenomenon != nil && s.Phenomenon.Host && len(overrides) > 0 {
		load := *s
		load.phases = nil
		s = &load
	}
	var stages []Stage
	for i := range s.Phases() {
		w, err := s.workload(i, overrides)
		if err != nil {
			return nil, err
		}
		plan, err := w.Plan(ctx)
		if err != nil {
			return nil, s.locateUnless(i, err, overrides)
		}
		stage := Stage{Plan: plan, Gone: s.gone(i, w)}
		if len(s.phases) > 0 {
			p := &s.phases[i]
			stage.Name, stage.Why, stage.Costs, stage.Expect = p.name, p.why, p.costs, p.expect
			stage.Phenomenon, stage.Own, stage.Load = s.labOf(p), p.setup, wordsOf(p.run)
			if stage.Plan.Freeze = p.freeze; p.freeze != nil {
				stage.Plan.Settings["freeze"] = p.freeze.String()
			}
		}
		stages = append(stages, stage)
	}
	return stages, nil
}

// Load is what the file sets for all stages, in the words of flags.
func (s *Scenario) Load() []string { return wordsOf(s.run) }

func wordsOf(all []setting) (words []string) {
	for _, set := range all {
		words = append(words, "--"+set.name+" "+set.value)
	}
	return words
}

// labOf is the phenomenon with the lab that a phase wants for itself, nil if none does. Where
// one has a lab of its own all have.
func (s *Scenario) labOf(p *phase) *Phenomenon {
	if !s.OwnLabs() {
		return nil
	}
	own := *s.Phenomenon
	if p.setup != nil {
		own.Setup = own.Setup.on(*p.setup)
	}
	return &own
}

// OwnLabs tells whether each phase is run in a new lab.
func (s *Scenario) OwnLabs() bool {
	return slices.ContainsFunc(s.phases, func(p phase) bool { return p.setup != nil })
}

// locateUnless is locate for a mistake that is the file's and not the command line's.
func (s *Scenario) locateUnless(i int, err error, overrides []Override) error {
	var m Misuse
	if errors.As(err, &m) && slices.ContainsFunc(overrides, func(o Override) bool { return o.Name == m.Flag }) {
		return err
	}
	return s.locate(i, err)
}
