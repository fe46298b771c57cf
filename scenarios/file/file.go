// Package file reads scenario files: workloads in the words of their flags, and what a scenario
// claims. A mistake is an error with its line and column.
package file

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"tcpbench/scenarios/expect"
	"tcpbench/scenarios/stage"
	"tcpbench/scenarios/workload"
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

	// Run are the flags of all runs.
	Run []Setting
	// Phases are the runs of which there are several; none if there is one.
	Phases []Phase
	// Expect are the expectations of the whole scenario.
	Expect []*expect.Expression

	file string // as errors name it
}

// Phase is one run of several.
type Phase struct {
	Name   string
	Why    string
	Costs  string
	Run    []Setting     // what differs from the scenario's
	Setup  *Setup        // of a lab of its own, with what the scenario's has
	Freeze *stage.Freeze // of the processes of a side, on loopback or this host
	Expect []*expect.Expression
}

// Setting is a flag that a file sets.
type Setting struct {
	workload.Setting
	key, at position // where the name stands, and the value
}

// Expected is the number of all expectations, those of the phases included.
func (s *Scenario) Expected() int {
	n := len(s.Expect)
	for _, p := range s.Phases {
		n += len(p.Expect)
	}
	return n
}

// Experiment tells whether single connections are looked at, in place of a load.
func (s *Scenario) Experiment() bool { return s.Phenomenon != nil && s.Phenomenon.Experiment != nil }

// Runs is the number of runs.
func (s *Scenario) Runs() int { return max(1, len(s.Phases)) }

// largestFile is more than anybody writes by hand.
const largestFile = 64 << 10

// Read reads a scenario file; name is what errors call it. Every mistake in it
// is an error with its line and column, but for those that only show together with the
// flags of a command line, which Stages finds.
func Read(name string, r io.Reader) (*Scenario, error) {
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
	return s, s.Check(nil)
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
	if s.Run, err = settings(root, "run"); err != nil {
		return err
	}
	if s.Expect, err = expectations(root); err != nil {
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
		s.Phases = append(s.Phases, p)
	}
	if err := s.readPhenomenon(root); err != nil {
		return err
	}
	for i, p := range s.Phases {
		if p.Freeze != nil && (s.Phenomenon == nil || !s.Phenomenon.Host) {
			m, _ := phases[i].mapping("")
			return m.errorAtKey("freeze", "only a phase of loopback or of this host stops processes: in a lab the link can be cut, by lab and timeline")
		}
		if p.Setup != nil && s.Phenomenon == nil {
			m, _ := phases[i].mapping("")
			return m.errorAtKey("lab", "a phase has a lab of its own in a scenario that claims something: add claim, or leave lab out and use tcpbench lab")
		}
	}
	return nil
}

func (s *Scenario) phaseNames() (names []string) {
	for _, p := range s.Phases {
		names = append(names, p.Name)
	}
	return names
}

func (s *Scenario) readPhase(n node) (Phase, error) {
	var p Phase
	m, err := n.mapping("a phase has a name and what differs from run, as in - name: peak")
	if err != nil {
		return p, err
	}
	if p.Name, err = m.text("name"); err != nil {
		return p, err
	}
	switch {
	case p.Name == "":
		return p, m.errorf("a phase has a name: add one, as in name: peak")
	case slices.ContainsFunc(s.Phases, func(other Phase) bool { return other.Name == p.Name }):
		return p, m.errorAt("name", "a second phase is called %q: give it another name", p.Name)
	}
	if p.Run, err = m.settings("name", "why", "costs", "lab", "freeze", "expect"); err != nil {
		return p, err
	}
	for key, to := range map[string]*string{"why": &p.Why, "costs": &p.Costs} {
		text, err := m.text(key)
		if err != nil {
			return p, err
		}
		*to = strings.Join(strings.Fields(text), " ")
	}
	if p.Freeze, err = s.readFreeze(m); err != nil {
		return p, err
	}
	if _, ok := m.find("lab"); ok {
		setup, err := readSetup(m)
		if err != nil {
			return p, err
		}
		p.Setup = &setup
	}
	for _, set := range p.Run {
		if workload.Shared(set.Name) && p.Setup == nil {
			return p, s.errorf(set.key, "%s belongs to the server, which is the same in all phases without a lab of their own: put it under run", set.Name)
		}
	}
	p.Expect, err = expectations(m)
	return p, err
}

// settings reads a mapping of flags.
func settings(m mapping, key string) ([]Setting, error) {
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
	var m workload.Misuse
	if !errors.As(err, &m) {
		return err
	}
	for _, set := range slices.Backward(s.settings(i)) {
		if set.Name == m.Flag {
			return s.errorf(set.at, "%w", err)
		}
	}
	return err
}

// workload makes the workload of a phase.
func (s *Scenario) workload(i int, overrides []workload.Setting) (*workload.Workload, error) {
	w, err := workload.New(s.Name, s.presets(i), overrides)
	var wrong workload.PresetError
	if errors.As(err, &wrong) {
		return nil, s.errorf(s.settings(i)[wrong.Index].at, "%w", err)
	}
	return w, err
}

// Check finds what is wrong with the flags of the file, together with those of a command line.
func (s *Scenario) Check(overrides []workload.Setting) error {
	for i := range s.Runs() {
		w, err := s.workload(i, overrides)
		if err != nil {
			return err
		}
		if err := w.Check(); err != nil {
			return s.locateUnless(i, err, overrides)
		}
	}
	return nil
}

func plain(all []Setting) (words []workload.Setting) {
	for _, set := range all {
		words = append(words, set.Setting)
	}
	return words
}

// presets are the settings of a phase without their places.
func (s *Scenario) presets(i int) []workload.Setting { return plain(s.settings(i)) }

// settings are all flags that the file sets for a phase, the phase's own last.
func (s *Scenario) settings(i int) []Setting {
	if len(s.Phases) == 0 {
		return s.Run
	}
	return slices.Concat(s.Run, s.Phases[i].Run)
}
