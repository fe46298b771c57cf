package workload

import (
	"fmt"

	"github.com/spf13/pflag"
	"tcpbench/scenarios/stage"
)

// settings are the flags that make this plan of a scenario that sets nothing: those that were
// given, and the defaults that were chosen, as far as no rule forbids to write them.
func (w *Workload) settings(plan *stage.Plan) map[string]string {
	settings := map[string]string{}
	w.flags.VisitAll(func(f *pflag.Flag) {
		text := f.Value.String()
		if text == f.DefValue && (text == "" || text == "false") || !w.mayName(f.Name) {
			return
		}
		settings[f.Name] = text
	})
	if w.sources == nil { // it has given way
		delete(settings, "sources")
	}
	c := &plan.Client
	settings["seed"] = fmt.Sprint(c.Seed)
	settings["connections"] = fmt.Sprint(c.Connections)
	settings["warmup"] = c.Warmup.String()
	settings["duration"] = c.Duration.String()
	if c.Duration == 0 { // it bounds nothing
		delete(settings, "duration")
	}
	return settings
}

// mayName tells whether a flag that nobody has given could be, with the value that it has.
func (w *Workload) mayName(flag string) bool {
	if w.set(flag) {
		return true
	}
	w.presets[flag] = true
	defer delete(w.presets, flag)
	return w.checkRules() == nil
}
