package expect

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"tcpbench/internal/kernel"
	"tcpbench/internal/values"
	"tcpbench/metrics"
)

// counterGroups are the kernel's groups of counters that an expectation may name.
var counterGroups = []string{"Tcp", "TcpExt", "Ip", "IpExt"}

// counterNames are the counters that this kernel has, by group. None is known where they
// cannot be read; then any name is taken.
var counterNames = sync.OnceValue(func() map[string][]string {
	c, err := kernel.ReadCounters()
	if err != nil {
		return nil
	}
	return c.Names()
})

// views are all that was seen of the kernel, in each phase.
func views(r *metrics.Result) []metrics.Namespace {
	all := slices.Clone(r.Kernel)
	for i := range r.Phases {
		all = append(all, views(&r.Phases[i].Result)...)
	}
	return all
}

// counterVariable is by how much a counter of the kernel moved: TcpExt.ListenOverflows.
func counterVariable(group, name string) (variable, error) {
	if known := counterNames()[group]; known != nil && !slices.Contains(known, name) {
		if near := values.Nearest(name, known); near != "" {
			return variable{}, fmt.Errorf("this kernel has no counter %s.%s: did you mean %s.%s?", group, name, group, near)
		}
		return variable{}, fmt.Errorf("this kernel has no counter %s.%s: nstat -az lists them", group, name)
	}
	return variable{name: group + "." + name, read: func(r *metrics.Result) (sum float64, ok bool) {
		for _, v := range views(r) {
			sum, ok = sum+float64(v.Counters[group][name]), true
		}
		return sum, ok
	}}, nil
}

// socketVariable is a number of sockets of a side in a state, at the most or at the end:
// server.CLOSE_WAIT.max.
func socketVariable(side, rest string) (variable, bool) {
	state, which, ok := strings.Cut(rest, ".")
	known := false
	for s := kernel.State(1); s < kernel.States; s++ {
		known = known || s.String() == state
	}
	if !ok || !known || which != "max" && which != "last" {
		return variable{}, false
	}
	return variable{name: side + "." + rest, read: func(r *metrics.Result) (value float64, ok bool) {
		for _, v := range views(r) {
			if v.Of != side && v.Of != "both" {
				continue
			}
			ok = true
			column := v.Timeline.Sockets[side+"."+state] // absent where there never was one
			switch {
			case len(column) == 0:
			case which == "max":
				value = max(value, float64(slices.Max(column)))
			default:
				value = float64(column[len(column)-1])
			}
		}
		return value, ok
	}}, true
}
