package file

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/pflag"

	"tcpbench/scenarios/stage"
	"tcpbench/scenarios/workload"
)

// A PhasePlan is one run of a scenario. The phase is empty if it is the only run.
type PhasePlan struct {
	Phase
	Plan stage.Plan
	// Gone is what the file sets that has given way to the command line, in the words of flags.
	Gone []string
	// Phenomenon has the lab that the phase has for itself; nil is the scenario's.
	Phenomenon *Phenomenon
}

// Preset makes the flags that a command line may set over those of the scenario. Their defaults
// are what its first phase sets. workload.Overrides returns what was read.
func (s *Scenario) Preset(f *pflag.FlagSet) {
	presets := s.settings(0)
	if s.Phenomenon != nil && s.Phenomenon.Host {
		presets = s.Run
	}
	workload.Register(f, presets, s.Experiment())
}

// Plans returns a plan for each run; an experiment has none. The phases of a scenario of this
// host show its claim. With flags of a command line it is one load, which claims nothing.
func (s *Scenario) Plans(ctx context.Context, overrides []workload.Setting) (plans []PhasePlan, err error) {
	if s.Experiment() {
		for _, o := range overrides {
			if !workload.OfExperiment(o.Name) {
				return nil, fmt.Errorf("--%s: %s is an experiment with single connections, and no load: leave it out", o.Name, s.Name)
			}
		}
		return nil, nil
	}
	if s.Phenomenon != nil && s.Phenomenon.Host && len(overrides) > 0 {
		load := *s
		load.Phases = nil
		s = &load
	}
	for i := range s.Runs() {
		w, err := s.workload(i, overrides)
		if err != nil {
			return nil, err
		}
		one := PhasePlan{}
		if one.Plan, err = w.Plan(ctx); err != nil {
			return nil, s.locate(i, err, overrides)
		}
		one.Gone = wordsOf(w.Gone(s.settings(i)))
		if len(s.Phases) > 0 {
			one.Phase = s.Phases[i]
			one.Phenomenon, one.Plan.Freeze = s.labOf(&one.Phase), one.Freeze
			if one.Freeze != nil {
				one.Plan.Settings["freeze"] = one.Freeze.String()
			}
		}
		plans = append(plans, one)
	}
	return plans, nil
}

// Check returns an error if the flags of the file contradict each other, or those of a command line.
func (s *Scenario) Check(overrides []workload.Setting) error {
	for i := range s.Runs() {
		w, err := s.workload(i, overrides)
		if err != nil {
			return err
		}
		if err := w.Check(); err != nil {
			return s.locate(i, err, overrides)
		}
	}
	return nil
}

// workload makes the workload of a phase.
func (s *Scenario) workload(i int, overrides []workload.Setting) (*workload.Workload, error) {
	return workload.New(s.Name, s.settings(i), overrides)
}

// settings are all flags that the file sets for a phase, the phase's own last.
func (s *Scenario) settings(i int) []workload.Setting {
	if len(s.Phases) == 0 {
		return s.Run
	}
	return slices.Concat(s.Run, s.Phases[i].Run)
}

// Load is what the file sets for all phases, in the words of flags.
func (s *Scenario) Load() []string { return wordsOf(s.Run) }

// Load is what the file sets for this phase alone.
func (p *Phase) Load() []string { return wordsOf(p.Run) }

func wordsOf(all []workload.Setting) (words []string) {
	for _, set := range all {
		words = append(words, "--"+set.Name+" "+set.Value)
	}
	return words
}

// labOf is the phenomenon with the lab of a phase; nil if no phase has a lab of its own. If one
// has, all have.
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

// OwnLabs tells whether each phase runs in a new lab.
func (s *Scenario) OwnLabs() bool {
	return slices.ContainsFunc(s.Phases, func(p Phase) bool { return p.Setup != nil })
}
