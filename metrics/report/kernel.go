package report

import (
	"fmt"
	"maps"
	"slices"

	"tcpbench/metrics"
)

// populations draws a table of every histogram of numbers of sockets and ports that saw any.
func (p *page) populations(r *metrics.Result) {
	names := histograms(r, func(h metrics.Histogram) bool { return h.Unit != metrics.Nanoseconds && h.Max > 0 })
	if len(names) == 0 {
		return
	}
	p.line("")
	p.fit(func(count func(int64) string) table {
		t := table{{"sockets and ports", "p50", "p90", "p99", "max", "samples"}}
		for _, name := range names {
			h := r.Histograms[name]
			t = append(t, []string{clean(name), count(h.P50), count(h.P90), count(h.P99), count(h.Max), count(h.Count)})
		}
		return t
	})
}

// kernel shows the most sockets, the queues, and the counters that moved, in each namespace.
func (p *page) kernel(r *metrics.Result) {
	for i := range r.Kernel {
		v := &r.Kernel[i]
		p.line("")
		p.entry("kernel", label, listed(peaks(r, v), ","))
		for k := range v.Listeners {
			if k == shownBursts {
				p.entry("", label, []string{fmt.Sprintf("and %d more listening addresses", len(v.Listeners)-k)})
				break
			}
			l := &v.Listeners[k]
			text := fmt.Sprintf("accept queue of %s up to %s of %s", clean(l.Addr), Count(l.Peak), Count(l.Limit+1))
			if l.Drops > 0 {
				text += fmt.Sprintf(", %s SYNs and last ACKs dropped", Count(l.Drops))
			}
			p.entry("", label, words(text))
		}
		for _, g := range groupsOf(v.Counters) {
			if items := moved(v.Counters[g]); len(items) > 0 {
				p.entry(clean(g), label, listed(items, ","))
			}
		}
		p.trace(v.Trace)
		if n := v.Timeline.Every; n > 1 {
			p.entry("", label, wordsf("a row of the timeline stands for %d samples", n))
		}
		c := v.Cost
		p.entry("", label, wordsf("watched %s times, with %s censuses of %s each: %s of one CPU",
			Count(c.Samples), Count(c.Censuses), Duration(c.CensusNS), Percent(c.CPUShare, 1)))
	}
}

// trace shows what the tracepoints counted.
func (p *page) trace(t *metrics.Trace) {
	if t == nil {
		return
	}
	head := "traced"
	for _, part := range []struct {
		what   string
		counts map[string]uint64
	}{{"", t.Transitions}, {"sent again: ", t.Retransmits}, {"RST sent: ", t.ResetsSent}, {"RST taken: ", t.ResetsReceived}} {
		var items []string
		for _, name := range slices.Sorted(maps.Keys(part.counts)) {
			items = append(items, part.what+clean(name)+" "+Count(part.counts[name]))
		}
		if len(items) > 0 {
			p.entry(head, label, listed(items, ","))
			head = ""
		}
	}
}

// peaks are the largest numbers of sockets and ports.
func peaks(r *metrics.Result, v *metrics.Namespace) (items []string) {
	if len(r.Kernel) > 1 {
		items = append(items, "of the "+clean(v.Of)+"'s namespace")
	}
	for _, state := range []string{"TIME_WAIT", "FIN_WAIT2"} {
		for _, side := range []string{"client", "server"} {
			if n, _ := v.Peak(side, state); n > 0 {
				items = append(items, fmt.Sprintf("%s %s up to %s", side, state, Count(n)))
			}
		}
	}
	if tw := v.Timeline.Sockets["tw"]; len(tw) > 0 && slices.Max(tw) > 0 {
		items = append(items, fmt.Sprintf("tw of the whole namespace up to %s", Count(slices.Max(tw))))
	}
	if s := v.Spaces; s != nil {
		items = append(items, fmt.Sprintf("%s of %s ports taken in the fullest of %s", Count(s.Peak), Count(s.Ports), Plural(s.Count, "four-tuple space")),
			"from "+clean(s.Fullest))
	}
	if len(items) == 0 {
		items = append(items, "no sockets of the run were seen")
	}
	return items
}

// Plural writes a count with what is counted.
func Plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return Count(n) + " " + what + "s"
}

// moved lists counters with their growth.
func moved(counters map[string]int64) (items []string) {
	for _, name := range slices.Sorted(maps.Keys(counters)) {
		items = append(items, clean(name)+" "+Count(counters[name]))
	}
	return items
}
