package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"tcpbench/metrics"
)

// Moment writes what the kernel showed at one time.
func Moment(w io.Writer, m *metrics.Moment, style Style) error {
	p := style.page()
	p.hang(m.Time.Format("15:04:05")+"  ", label, listed(stateCounts(m.States), ","), plain)
	if len(m.Listeners) > 0 {
		t := table{{"listening", "sockets", "waiting", "fullest", "holds"}}
		for _, l := range m.Listeners {
			t = append(t, []string{clean(l.Addr), Count(l.Sockets), Count(l.Waiting), Count(l.Fullest), Count(l.Limit + 1)})
		}
		p.line("")
		p.table(t)
	}
	if len(m.Destinations) > 0 {
		t := table{{"ports taken", "TIME_WAIT", "in use", "left"}}
		for _, d := range m.Destinations {
			t = append(t, []string{clean(d.Source) + " to " + clean(d.Target), Count(d.TimeWait), Count(d.Other), Count(d.Left)})
		}
		p.line("")
		p.table(t)
		if more := m.Spaces - len(m.Destinations); more > 0 {
			p.line(p.paint(label, "  and "+Count(more)+" pairs of source and destination with fewer"))
		}
	}
	if m.SpacesLeft > 0 {
		p.line(p.paint(warning, "  and "+Count(m.SpacesLeft)+" sockets of pairs that are too many to tell apart"))
	}
	p.line("")
	for _, g := range groupsOf(m.Rates) {
		var items []string
		for _, name := range slices.Sorted(maps.Keys(m.Rates[g])) {
			items = append(items, clean(name)+" "+Rate(m.Rates[g][name]))
		}
		if len(items) > 0 {
			p.entry(clean(g), label, listed(items, ","))
		}
	}
	p.line(p.paint(label, fmt.Sprintf("        counted in %s", Duration(m.CensusNS))))
	return p.flush(w)
}

func stateCounts(counts map[string]int) (items []string) {
	names := metrics.TCPStates
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		if !slices.Contains(names, name) {
			names = append(names[:len(names):len(names)], name)
		}
	}
	for _, name := range names {
		if n := counts[name]; n > 0 {
			items = append(items, strings.TrimSpace(clean(name))+" "+Count(n))
		}
	}
	if items == nil {
		items = []string{"no TCP sockets"}
	}
	return items
}

// groupsOf lists groups of counters: first the known ones, then others by name.
func groupsOf[V any](counters map[string]V) []string {
	groups := metrics.CounterGroups
	for _, g := range slices.Sorted(maps.Keys(counters)) {
		if !slices.Contains(groups, g) {
			groups = append(groups[:len(groups):len(groups)], g)
		}
	}
	return groups
}
