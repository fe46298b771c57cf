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

// Scenario is a scenario file that was read: one or more workloads, and what must hold of the
// result.
type Scenario struct {
	Name    string
	Summary string
	Why     string
	// Phenomenon is what the scenario claims; nil if it claims nothing.
	Phenomenon *Phenomenon
	// Text is the file itself.
	Text []byte

	// Run are the flags of all phases.
	Run []workload.Setting
	// Phases are run one after the other; none if there is a single run.
	Phases []Phase
	// Expect are the expectations of the whole scenario.
	Expect []*expect.Expression
}

// Phase is one run of several.
type Phase struct {
	Name   string
	Why    string             // what it shows
	Costs  string             // the price of what it does
	Run    []workload.Setting // what differs from the scenario's
	Setup  *Setup             // what its own lab has besides the scenario's; nil is the scenario's lab
	Freeze *stage.Freeze      // of the processes of a side, on loopback or this host
	Expect []*expect.Expression
}

// Expected is the number of all expectations, including those of the phases.
func (s *Scenario) Expected() int {
	n := len(s.Expect)
	for _, p := range s.Phases {
		n += len(p.Expect)
	}
	return n
}

// Experiment tells whether the scenario does something with single connections, instead of a load.
func (s *Scenario) Experiment() bool { return s.Phenomenon != nil && s.Phenomenon.Experiment != nil }

// Runs is the number of runs.
func (s *Scenario) Runs() int { return max(1, len(s.Phases)) }

// largestFile is more than anybody writes by hand.
const largestFile = 64 << 10

// Read reads a scenario file; name is what errors call it. It finds every mistake but those that
// show only together with the flags of a command line, which Plans finds.
func Read(name string, r io.Reader) (*Scenario, error) {
	text, err := io.ReadAll(io.LimitReader(r, largestFile+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	case len(text) > largestFile:
		return nil, fmt.Errorf("%s: a scenario has %d bytes at most: is it another kind of file?", name, largestFile)
	}
	s := &Scenario{Text: text}
	root, err := parseYAML(name, text)
	if err != nil {
		return nil, err
	}
	if err := s.read(root); err != nil {
		return nil, err
	}
	return s, s.Check(nil)
}

// read reads the whole file. What depends on other keys comes after them.
func (s *Scenario) read(root mapping) error {
	p := &Phenomenon{}
	claim := []field{
		{"host", yes(&p.Host)}, {"claim", line(&p.Claim)}, {"production", line(&p.Production)}, {"steps", lines(&p.Steps)},
		{"takes", p.readTakes}, {"lab", p.Setup.read}, {"scaled", lines(&p.Scaled)},
	}
	load := []field{
		{"name", text(&s.Name)}, {"summary", text(&s.Summary)}, {"why", text(&s.Why)}, {"run", flags(&s.Run)},
		{"phases", list(s.readPhase)}, {"expect", s.expressions(&s.Expect, false)},
	}
	evidence := []field{
		{"verdict", s.expressions(&p.verdict, true)}, {"conditions", s.readConditions(p)}, {"experiment", s.readExperiment},
		{"loopback", s.readLoopback}, {"realistic", s.readRealistic},
	}
	if slices.ContainsFunc(slices.Concat(claim, evidence), func(f field) bool { return slices.Contains(root.keys, f.key) }) {
		s.Phenomenon = p
	}
	if err := root.read(slices.Concat(claim, load, evidence)...); err != nil {
		return err
	}
	switch {
	case s.Name == "":
		return root.errorf("no name: add one, as in name: my-scenario")
	case strings.ContainsFunc(s.Name, func(r rune) bool { return r < '!' || r == 0x7f }):
		return root.values["name"].errorf("%q: want one word without spaces", s.Name)
	case s.Phenomenon != nil:
		return s.complete(root)
	}
	return nil
}

// expressions reads a list of expressions, in which names of phases may stand if phased.
func (s *Scenario) expressions(to *[]*expect.Expression, phased bool) reader {
	return func(n node) error {
		var phases []string
		if phased {
			phases = s.phaseNames()
		}
		*to = nil
		return list(func(item node) error {
			e, err := expression(item, phases)
			*to = append(*to, e)
			return err
		})(n)
	}
}

func (s *Scenario) phaseNames() (names []string) {
	for _, p := range s.Phases {
		names = append(names, p.Name)
	}
	return names
}

func (s *Scenario) readPhase(n node) error {
	var p Phase
	m, err := n.mapping("a phase has a name and what differs from run, as in - name: peak")
	if err != nil {
		return err
	}
	fields := []field{
		{"name", text(&p.Name)}, {"why", line(&p.Why)}, {"costs", line(&p.Costs)}, {"freeze", s.readFreeze(&p)},
		{"lab", s.readOwnLab(&p)}, {"expect", s.expressions(&p.Expect, false)},
	}
	var besides []string
	for _, f := range fields {
		besides = append(besides, f.key)
	}
	if err := m.take(fields...); err != nil {
		return err
	}
	switch {
	case p.Name == "":
		return m.errorf("a phase has a name: add one, as in name: peak")
	case slices.Contains(s.phaseNames(), p.Name):
		return m.values["name"].errorf("a second phase is called %q: give it another name", p.Name)
	}
	if p.Run, err = m.settings(besides...); err != nil {
		return err
	}
	for _, set := range p.Run {
		if workload.Shared(set.Name) && p.Setup == nil {
			return m.errorAtKey(set.Name, "%s belongs to the server, which is the same in all phases without a lab of their own: put it under run", set.Name)
		}
	}
	s.Phases = append(s.Phases, p)
	return nil
}

// locate adds where the file sets the flag that is to blame, unless the command line sets it.
func (s *Scenario) locate(i int, err error, overrides []workload.Setting) error {
	var m workload.Misuse
	if !errors.As(err, &m) || slices.ContainsFunc(overrides, func(o workload.Setting) bool { return o.Name == m.Flag }) {
		return err
	}
	for _, set := range slices.Backward(s.settings(i)) {
		if set.Name == m.Flag {
			return fmt.Errorf("%s: %w", set.At, err)
		}
	}
	return err
}
