package compare

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"tcpbench/metrics"
)

// Difference is something in which the runs of the sides were not alike.
type Difference struct {
	What string `json:"what"`
	// Values are those of each side, joined if its own results are not alike.
	Values []string `json:"values"`
	// Unfair says why numbers of such runs cannot be compared.
	Unfair string `json:"unfair,omitempty"`
}

// Differences lists how the runs of the sides were not alike. Those that make the comparison unfair
// come first.
func Differences(sides []Side) []Difference {
	var all []Difference
	look := func(what, unfair string, of func(*metrics.Result) string) {
		d := Difference{What: what, Unfair: unfair}
		for _, s := range sides {
			var values []string
			for _, r := range s.Results {
				if v := of(r); !slices.Contains(values, v) {
					values = append(values, v)
				}
			}
			slices.Sort(values)
			d.Values = append(d.Values, strings.Join(values, " or "))
		}
		if len(slices.Compact(slices.Clone(d.Values))) > 1 {
			all = append(all, d)
		}
	}
	look("scenario", "other scenarios do other things", func(r *metrics.Result) string { return r.Scenario.Name })
	look("arrival", "a closed loop and an open one measure different things", func(r *metrics.Result) string { return r.Scenario.Arrival })
	look("lifecycle", "connections did other things", func(r *metrics.Result) string { return r.Scenario.Lifecycle })
	look("close", "who closes, and how, decides the work and where TIME_WAIT is", func(r *metrics.Result) string { return r.Scenario.Close })
	look("kernel", "another kernel", func(r *metrics.Result) string { return r.Host.Kernel })
	look("processor", "another processor", func(r *metrics.Result) string { return fmt.Sprintf("%d × %s", r.Host.CPUs, r.Host.CPUModel) })
	look("place", "in a lab and outside of it packets take other ways", func(r *metrics.Result) string {
		if r.Lab != nil {
			return "lab"
		}
		return "host"
	})
	look("link", "", func(r *metrics.Result) string { return link(r.Lab) })
	look("flag invalid", "the result is invalid", func(r *metrics.Result) string { return fmt.Sprint(r.Flagged("invalid")) })
	look("hostname", "", func(r *metrics.Result) string { return r.Host.Hostname })
	look("tool", "", func(r *metrics.Result) string { return r.Tool.Version })
	for _, key := range keys(sides, func(r *metrics.Result) map[string]string { return r.Scenario.Settings }) {
		if key != "seed" && key != "ports" {
			look("--"+key, "", func(r *metrics.Result) string { return r.Scenario.Settings[key] })
		}
	}
	return append(all, settingsThatDiffer(sides)...)
}

// link says what a lab's link did to packets.
func link(l *metrics.Lab) string {
	var parts []string
	if l != nil && l.ToServer != nil {
		parts = append(parts, "to the server "+l.ToServer.Impairment)
	}
	if l != nil && l.ToClient != nil {
		parts = append(parts, "to the client "+l.ToClient.Impairment)
	}
	return strings.Join(parts, ", ")
}

func keys(sides []Side, of func(*metrics.Result) map[string]string) []string {
	seen := map[string]bool{}
	for _, s := range sides {
		for _, r := range s.Results {
			for key := range of(r) {
				seen[key] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(seen))
}
