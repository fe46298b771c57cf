package expect

import (
	"fmt"

	"tcpbench/internal/values"
	"tcpbench/metrics"
	"tcpbench/scenarios/experiment"
)

// factGroup is what the names of an experiment's facts begin with: seen.client_states.
const factGroup = "seen"

// factVariable is what an experiment has found out.
func factVariable(name string) (variable, error) {
	f, ok := experiment.FindFact(name)
	if !ok {
		if near := values.Nearest(name, experiment.FactNames()); near != "" {
			return variable{}, fmt.Errorf("no experiment finds out %q: did you mean %s.%s?", name, factGroup, near)
		}
		return variable{}, fmt.Errorf("no experiment finds out %q: docs/scenario-files.md lists what they do", name)
	}
	find := func(r *metrics.Result) (metrics.Value, bool) {
		if r.Experiment != nil {
			for _, v := range r.Experiment.Facts {
				if v.Name == name {
					return v, true
				}
			}
		}
		return metrics.Value{}, false
	}
	return variable{
		name: factGroup + "." + name, unit: f.Unit,
		read: func(r *metrics.Result) (float64, bool) {
			v, ok := find(r)
			return v.Value, ok
		},
		words: func(r *metrics.Result) (string, bool) {
			v, ok := find(r)
			return v.Text, ok
		},
	}, nil
}
