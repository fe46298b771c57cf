package file

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/pflag"

	"tcpbench/scenarios/expect"
	"tcpbench/scenarios/stage"
	"tcpbench/scenarios/workload"
)

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
}

// Preset makes the flags that a command line may set over those of the scenario. Their
// defaults are what its first phase sets. workload.Overrides tells what was read.
func (s *Scenario) Preset(f *pflag.FlagSet) {
	presets := s.presets(0)
	if s.Phenomenon != nil && s.Phenomenon.Host {
		presets = plain(s.Run)
	}
	workload.Register(f, presets)
}

// Stages plans the runs of the scenario. Phases of this host show its claim; a command line makes
// another load of it, which has none.
func (s *Scenario) Stages(ctx context.Context, overrides []workload.Setting) ([]Stage, error) {
	if s.Experiment() {
		overrides = slices.DeleteFunc(slices.Clone(overrides), func(o workload.Setting) bool { return o.Name == "ipv4" || o.Name == "ipv6" })
		if len(overrides) > 0 {
			return nil, fmt.Errorf("--%s: %s is an experiment with single connections, and no load: leave it out", overrides[0].Name, s.Name)
		}
		return nil, nil
	}
	if s.Phenomenon != nil && s.Phenomenon.Host && len(overrides) > 0 {
		load := *s
		load.Phases = nil
		s = &load
	}
	var stages []Stage
	for i := range s.Runs() {
		w, err := s.workload(i, overrides)
		if err != nil {
			return nil, err
		}
		plan, err := w.Plan(ctx)
		if err != nil {
			return nil, s.locateUnless(i, err, overrides)
		}
		stage := Stage{Plan: plan, Gone: wordsOf(w.Gone(s.presets(i)))}
		if len(s.Phases) > 0 {
			p := &s.Phases[i]
			stage.Name, stage.Why, stage.Costs, stage.Expect = p.Name, p.Why, p.Costs, p.Expect
			stage.Phenomenon, stage.Own, stage.Load = s.labOf(p), p.Setup, wordsOf(plain(p.Run))
			if stage.Plan.Freeze = p.Freeze; p.Freeze != nil {
				stage.Plan.Settings["freeze"] = p.Freeze.String()
			}
		}
		stages = append(stages, stage)
	}
	return stages, nil
}

// Load is what the file sets for all stages, in the words of flags.
func (s *Scenario) Load() []string { return wordsOf(plain(s.Run)) }

func wordsOf(all []workload.Setting) (words []string) {
	for _, set := range all {
		words = append(words, "--"+set.Name+" "+set.Value)
	}
	return words
}

// labOf is the phenomenon with the lab that a phase wants for itself, nil if none does. Where
// one has a lab of its own all have.
func (s *Scenario) labOf(p *Phase) *Phenomenon {
	if !s.OwnLabs() {
		return nil
	}
	own := *s.Phenomenon
	if p.Setup != nil {
		own.Setup = own.Setup.on(*p.Setup)
	}
	return &own
}

// OwnLabs tells whether each phase is run in a new lab.
func (s *Scenario) OwnLabs() bool {
	return slices.ContainsFunc(s.Phases, func(p Phase) bool { return p.Setup != nil })
}

// locateUnless is locate for a mistake that is the file's and not the command line's.
func (s *Scenario) locateUnless(i int, err error, overrides []workload.Setting) error {
	var m workload.Misuse
	if errors.As(err, &m) && slices.ContainsFunc(overrides, func(o workload.Setting) bool { return o.Name == m.Flag }) {
		return err
	}
	return s.locate(i, err)
}
