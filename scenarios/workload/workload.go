// Package workload is a load in the words of its flags: what they take, which of them exclude each
// other, and the plan that follows from them. flags.go lists them.
package workload

import (
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
	"tcpbench/scenarios/stage"
	"tcpbench/server"
)

// Workload is a run in the words of its flags: who connects when, what one connection does, and
// against which server.
type Workload struct {
	flags *pflag.FlagSet
	table []flag
	// presets are the flags that the scenario has set.
	presets map[string]bool
	// gone are the flags of the scenario that have given way to those of the command line.
	gone []string

	// What flags say that needs no work stands where the run looks for it.
	plan   stage.Plan
	server server.Config
	script wire.Script       // sizes
	beat   loadgen.Heartbeat // none if Every is zero

	target       string
	arrival      pace.Process // with a rate
	exchanges    int
	phase        string // of heartbeats
	payload      []loadgen.Template
	payloadFile  string
	payloadLines bool
	until        loadgen.Until
	hello        loadgen.Greeting
	noPreflight  bool
	ports        []uint16
	ipv4, ipv6   bool
}

// blank returns a workload with the defaults of the flags, and its flags.
func blank(name string) *Workload {
	w := &Workload{
		flags: pflag.NewFlagSet("", pflag.ContinueOnError), presets: map[string]bool{},
		plan: stage.Plan{Name: name, Observe: true, Client: loadgen.Config{
			Process: pace.Closed, Connections: 64, Loops: runtime.NumCPU(), OnExhausted: loadgen.CountExhausted,
			Duration: 10 * time.Second, Warmup: time.Second, Timeout: 5 * time.Second,
		}},
		server:  server.Default(),
		script:  wire.Script{RequestSize: 1, ResponseSize: 1},
		beat:    loadgen.Heartbeat{Missed: 3, Design: loadgen.ClientPings},
		arrival: pace.Constant, exchanges: 1, phase: randomPhase, until: loadgen.Until{Kind: loadgen.PeerFIN},
	}
	w.flags.SortFlags = false
	w.table = w.list()
	for i := range w.table {
		f := &w.table[i]
		if made := w.flags.VarPF(f.value, f.name, f.short, f.help); f.value.Type() == "bool" {
			made.NoOptDefVal = "true"
		}
	}
	return w
}

// groupOf is the annotation with the group of a flag.
const groupOf = "group"

// GroupOf returns the group of a flag that Register has made, or nothing.
func GroupOf(f *pflag.Flag) Group {
	for _, name := range f.Annotations[groupOf] {
		return Group(name)
	}
	return ""
}

// known are the flags of a workload by name.
var known = sync.OnceValue(func() map[string]flag {
	all := map[string]flag{}
	for _, f := range blank("").table {
		all[f.name] = f
	}
	return all
})

// Names are the names of all flags of a workload.
func Names() []string { return slices.Sorted(maps.Keys(known())) }

// Shared tells whether a flag is the same in all phases of a scenario.
func Shared(name string) bool { return known()[name].shared }

// OfExperiment tells whether experiments take a flag.
func OfExperiment(name string) bool { return known()[name].experiment != "" }

// Setting is a flag and its value: of a scenario, whose flags are presets, or of the command
// line, which counts more.
type Setting struct {
	Name, Value string
	At          string // where a file sets it, as errors begin; empty for a command line
}

// New returns the workload of a scenario's presets and of the command line. A preset that
// contradicts the command line gives way to it.
func New(name string, presets, overrides []Setting) (*Workload, error) {
	for gone := []string(nil); ; { // until no preset contradicts the command line
		w, err := settled(name, presets, overrides, gone)
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

// settled sets the flags, without the presets that are gone.
func settled(name string, presets, overrides []Setting, gone []string) (*Workload, error) {
	w := blank(name)
	w.gone = gone
	for _, p := range presets {
		if slices.Contains(gone, p.Name) {
			continue
		}
		if err := w.preset(p.Name, p.Value); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", p.At, p.Name, err)
		}
	}
	for _, o := range overrides {
		if err := w.flags.Set(o.Name, o.Value); err != nil {
			return nil, fmt.Errorf("--%s: %w", o.Name, err)
		}
	}
	return w, w.holdForDuration()
}

// holdForDuration takes the user's --duration as --hold if the scenario holds a population.
func (w *Workload) holdForDuration() error {
	d := w.flags.Lookup("duration")
	if !w.isPreset("hold") || !d.Changed || w.plan.Client.Duration <= 0 {
		return nil
	}
	hold := w.plan.Client.Duration
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

// preset sets a flag as the scenario has it.
func (w *Workload) preset(name, value string) error {
	f := w.flags.Lookup(name)
	switch {
	case f == nil:
		return fmt.Errorf("no such flag")
	case value == "":
		return fmt.Errorf("no value: want one, or leave the flag out")
	}
	w.presets[name] = true
	return f.Value.Set(value)
}

// set tells whether the scenario or the command line has set one of the flags.
func (w *Workload) set(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return w.presets[name] || w.flags.Changed(name) })
}

// Register makes the flags of a workload, or those of an experiment, for a command line. Their
// defaults are the presets. Overrides returns what was read.
func Register(f *pflag.FlagSet, presets []Setting, experiment bool) {
	w := blank("")
	for _, p := range presets {
		_ = w.preset(p.Name, p.Value) // who read the scenario has done it before
	}
	for _, entry := range w.table {
		flag := w.flags.Lookup(entry.name)
		if experiment {
			if entry.experiment == "" {
				continue
			}
			flag.Usage = entry.experiment
		}
		flag.DefValue, flag.Value = flag.Value.String(), &noted{Value: flag.Value}
		flag.Annotations = map[string][]string{groupOf: {string(entry.group)}}
		f.AddFlag(flag)
	}
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
				all = append(all, Setting{Name: flag.Name, Value: word})
			}
		}
	})
	return all
}
