package scenarios

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/pflag"

	"tcpbench/internal/values"
)

// workload makes the workload of a phase: the file's flags, and then the command line's,
// before which the file's give way.
func (s *Scenario) workload(i int, overrides []Override) (*Workload, error) {
	for gone := []string(nil); ; {
		w, err := s.set(i, overrides, gone)
		if err != nil || len(overrides) == 0 {
			return w, err
		}
		preset := w.giveWay()
		if preset == "" {
			return w, nil
		}
		gone = append(gone, preset)
	}
}

// set sets the flags of a phase, without those of the file that are gone.
func (s *Scenario) set(i int, overrides []Override, gone []string) (*Workload, error) {
	w := newWorkload(s.Name)
	w.gone = gone
	f := pflag.NewFlagSet(s.Name, pflag.ContinueOnError)
	w.Register(f)
	for _, set := range s.settings(i) {
		if slices.Contains(gone, set.name) {
			continue
		}
		if err := w.preset(set.name, set.value); err != nil {
			return nil, s.errorf(set.at, "%s: %w", set.name, values.Wanted(err))
		}
	}
	for _, o := range overrides {
		if f.Lookup(o.Name) == nil {
			continue // it decides what is shown
		}
		if err := f.Set(o.Name, o.Value); err != nil {
			return nil, fmt.Errorf("--%s: %w", o.Name, err)
		}
	}
	return w, w.holdForDuration()
}

// replaces are presets that mean something else beside a flag of the user, though both
// together would not contradict each other.
var replaces = map[string][]string{
	"rate":     {"connections"}, // there it is a bound, here the load itself
	"burst":    {"connections"},
	"duration": {"count"}, // who says how long, or how many, does not mean the other bound
	"count":    {"duration"},
	"target":   {"ipv4", "ipv6"},
}

// isPreset tells whether the scenario has set a flag, and the user has not.
func (w *Workload) isPreset(flag string) bool { return w.presets[flag] && !w.flags.Changed(flag) }

// giveWay returns a preset that has no place beside the user's flags, or nothing.
func (w *Workload) giveWay() string {
	for flag, others := range replaces {
		for _, other := range others {
			if w.flags.Changed(flag) && w.isPreset(other) {
				return other
			}
		}
	}
	for _, x := range exclusions {
		if !w.holds(x.first) {
			continue
		}
		for _, other := range x.others {
			switch {
			case !w.holds(other):
			case w.isPreset(x.first.flag):
				return x.first.flag
			case w.isPreset(other.flag):
				return other.flag
			}
		}
	}
	for _, n := range needs {
		if w.isPreset(n.flag.flag) && w.holds(n.flag) && !n.has(w) {
			return n.flag.flag
		}
	}
	return ""
}

// holdForDuration takes the user's --duration as the time for which a population is held that
// the scenario has chosen to hold.
func (w *Workload) holdForDuration() error {
	d := w.flags.Lookup("duration")
	if !w.isPreset("hold") || !d.Changed || w.duration <= 0 {
		return nil
	}
	hold := w.duration
	w.gone = append(slices.Clip(w.gone), "hold") // what the file says
	d.Changed = false
	return errors.Join(d.Value.Set(d.DefValue), w.flags.Lookup("hold").Value.Set(hold.String()))
}

// gone is what has given way in a phase. A preset that only repeats the default of its flag is
// left out: nothing is lost with it.
func (s *Scenario) gone(i int, w *Workload) []string {
	return wordsOf(slices.DeleteFunc(slices.Clone(s.settings(i)), func(set setting) bool {
		return !slices.Contains(w.gone, set.name) || set.value == w.flags.Lookup(set.name).DefValue
	}))
}
