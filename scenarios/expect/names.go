package expect

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"tcpbench/internal/kernel"
	"tcpbench/internal/values"
	"tcpbench/metrics"
	"tcpbench/scenarios/experiment"
)

// factGroup begins the names of what an experiment finds out: seen.client_states.
const factGroup = "seen"

// find returns the quantity of a name, which may begin with one of the phases. The error says which
// name may have been meant.
func find(name string, phases []string) (metrics.Quantity, error) {
	group, rest, _ := strings.Cut(name, ".")
	if rest != "" && slices.Contains(phases, group) {
		q, err := find(rest, nil)
		return q.In(group), err
	}
	if group == factGroup {
		return fact(rest)
	}
	q, ok := metrics.FindQuantity(name)
	switch {
	case ok && slices.Contains(metrics.CounterGroups, group):
		return q, checkCounter(group, rest)
	case ok:
		return q, nil
	case slices.Contains(metrics.HistogramNames(), group):
		return q, fmt.Errorf("%q: want a histogram and one of %s, or another quantile, as in p95", name, strings.Join(metrics.Summaries, ", "))
	}
	if near := values.Nearest(name, names()); near != "" {
		return q, fmt.Errorf("unknown name %q: did you mean %s?", name, near)
	}
	return q, fmt.Errorf("unknown name %q: tcpbench list quantities names what a result has", name)
}

// names lists all names that are fixed.
func names() (all []string) {
	for _, q := range metrics.Quantities() {
		all = append(all, q.Name)
	}
	for name := range experiment.Facts() {
		all = append(all, factGroup+"."+name)
	}
	return all
}

// fact is what an experiment has found out.
func fact(name string) (metrics.Quantity, error) {
	facts := experiment.Facts()
	f, ok := facts[name]
	if !ok {
		if near := values.Nearest(name, slices.Sorted(maps.Keys(facts))); near != "" {
			return metrics.Quantity{}, fmt.Errorf("no experiment finds out %q: did you mean %s.%s?", name, factGroup, near)
		}
		return metrics.Quantity{}, fmt.Errorf("no experiment finds out %q: docs/scenario-files.md lists what they do", name)
	}
	return metrics.Quantity{
		Name: factGroup + "." + name, Unit: f.Unit,
		Of:    func(r *metrics.Result) (float64, bool) { v, ok := r.Fact(name); return v.Value, ok },
		Words: func(r *metrics.Result) (string, bool) { v, ok := r.Fact(name); return v.Text, ok },
	}, nil
}

// counterNames are the counters that this kernel has, by group. It is nil if they cannot be read;
// then every name is accepted.
var counterNames = sync.OnceValue(func() map[string][]string {
	c, err := kernel.ReadCounters()
	if err != nil {
		return nil
	}
	return c.Names()
})

// checkCounter returns an error if this kernel has no such counter.
func checkCounter(group, name string) error {
	known := counterNames()[group]
	if known == nil || slices.Contains(known, name) {
		return nil
	}
	if near := values.Nearest(name, known); near != "" {
		return fmt.Errorf("this kernel has no counter %s.%s: did you mean %s.%s?", group, name, group, near)
	}
	return fmt.Errorf("this kernel has no counter %s.%s: nstat -az lists them", group, name)
}
