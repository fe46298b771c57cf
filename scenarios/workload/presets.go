package workload

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/pflag"

	"tcpbench/internal/values"
)

// Setting is a flag and its value: of a scenario, whose flags are presets, or of the command
// line, which counts more.
type Setting struct{ Name, Value string }

// A PresetError is a preset whose value is wrong.
type PresetError struct {
	Index int // of the preset
	err   error
}

func (e PresetError) Error() string { return e.err.Error() }
func (e PresetError) Unwrap() error { return e.err }

// New returns the workload of a scenario's presets and of the command line. A preset that
// contradicts the command line gives way to it.
func New(name string, presets, overrides []Setting) (*Workload, error) {
	for gone := []string(nil); ; {
		w, err := set(name, presets, overrides, gone)
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

// set sets the flags, without the presets that are gone.
func set(name string, presets, overrides []Setting, gone []string) (*Workload, error) {
	w := blank(name)
	w.gone = gone
	f := pflag.NewFlagSet(name, pflag.ContinueOnError)
	w.register(f)
	for i, p := range presets {
		if slices.Contains(gone, p.Name) {
			continue
		}
		if err := w.preset(p.Name, p.Value); err != nil {
			return nil, PresetError{i, fmt.Errorf("%s: %w", p.Name, values.Wanted(err))}
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

// Gone lists the presets that have given way. One that only repeats the default of its flag is
// left out: nothing is lost with it.
func (w *Workload) Gone(presets []Setting) []Setting {
	return slices.DeleteFunc(slices.Clone(presets), func(p Setting) bool {
		return !slices.Contains(w.gone, p.Name) || p.Value == w.flags.Lookup(p.Name).DefValue
	})
}

// Register makes the flags of a workload for a command line. Their defaults are the presets.
// Overrides tells what was read.
func Register(f *pflag.FlagSet, presets []Setting) {
	w := blank("")
	w.register(f)
	for _, p := range presets {
		_ = w.preset(p.Name, p.Value) // who read the scenario has done it before
		if flag := f.Lookup(p.Name); flag != nil {
			flag.DefValue = flag.Value.String()
		}
	}
	f.VisitAll(func(flag *pflag.Flag) { flag.Value = &noted{Value: flag.Value} })
}

// noted is the value of a flag that remembers the words it was set by, in order: what the
// command line says is said again to every phase of a scenario.
type noted struct {
	pflag.Value
	words []string
}

func (n *noted) Set(word string) error {
	n.words = append(n.words, word)
	return n.Value.Set(word)
}

// Overrides are the flags of a command line that a set made by Register has read.
func Overrides(f *pflag.FlagSet) []Setting {
	var all []Setting
	f.Visit(func(flag *pflag.Flag) {
		if n, ok := flag.Value.(*noted); ok {
			for _, word := range n.words {
				all = append(all, Setting{flag.Name, word})
			}
		}
	})
	return all
}

// Names are the names of all flags of a workload.
func Names() (names []string) {
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	blank("").register(f)
	f.VisitAll(func(flag *pflag.Flag) { names = append(names, flag.Name) })
	return names
}
