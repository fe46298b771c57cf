package report

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"tcpbench/metrics"
)

const (
	invalid   = "invalid"   // the flag of a result that means nothing
	completed = "completed" // a server's reason for closing if all went as planned
)

// headline names what was run.
func (p *page) headline(r *metrics.Result) {
	s := r.Scenario
	items := []string{s.Name, s.Arrival, s.Lifecycle, targets(s.Target), duration(r.ElapsedS * 1e9)}
	if r.Experiment != nil && r.Experiment.Family == metrics.IPv6 {
		items = slices.Insert(items, 1, "over IPv6")
	}
	for i := range items {
		items[i] = clean(items[i])
	}
	items = slices.DeleteFunc(items, func(item string) bool { return strings.TrimSpace(item) == "" })
	head := ""
	if r.Flagged(invalid) {
		head = "INVALID "
	}
	p.hang(head, alarm, listed(items, " ·"), plain)
}

func targets(all []string) string {
	switch len(all) {
	case 0:
		return ""
	case 1:
		return "to " + all[0]
	}
	return fmt.Sprintf("to %s and %d more", all[0], len(all)-1)
}

// tally shows how the attempts ended.
func (p *page) tally(r *metrics.Result) {
	type row struct {
		count, share, indent, text string
		ink                        ink
	}
	var rows []row
	counts, shares := 0, 0
	add := func(n uint64, ofAll bool, indent, text string, i ink) {
		it := row{Count(n), "", indent, text, i}
		if ofAll && r.Attempted > 0 {
			it.share = Percent(float64(n)/float64(r.Attempted), 2)
		}
		rows = append(rows, it)
		counts, shares = max(counts, columns(it.count)), max(shares, columns(it.share))
	}
	add(r.Attempted, false, "", "attempted", plain)
	add(r.Succeeded, true, "", "succeeded", plain)
	if failed := r.TotalFailed(); failed > 0 {
		add(failed, true, "", "failed", failure)
	} else {
		add(0, false, "", "failed", plain)
	}
	for _, name := range byCount(r.Failed) {
		add(r.Failed[name], true, "  ", name, failure)
	}
	if r.Open > 0 {
		add(r.Open, true, "", "open at the end", plain)
	}
	if r.Missed > 0 {
		add(r.Missed, false, "", "missed: due, but could not start in time", warning)
	}
	p.line("")
	for _, row := range rows {
		head := "  " + padLeft(row.count, counts) + "  " + padLeft(row.share, shares) + "  " + row.indent
		p.hang(head, row.ink, words(row.text), row.ink)
	}
}

// rate shows how fast the run was, and in an open loop how fast the schedule was.
func (p *page) rate(r *metrics.Result) {
	items := []string{Rate(r.Rate) + " succeeded"}
	if r.RateIntended != nil {
		items = append(items, Rate(r.RateOffered)+" offered", Rate(*r.RateIntended)+" intended")
	}
	p.line("")
	if q := r.Population; q != nil {
		if q.OpenedPerS == 0 {
			return
		}
		items = []string{Rate(q.OpenedPerS) + " opened"}
		if q.HeartbeatsPerS > 0 {
			items = append(items, Rate(q.HeartbeatsPerS)+" heartbeats")
		}
	}
	p.entry("rate", label, listed(items, ","))
}

// histograms lists those of a result that show accepts: first the known ones, then others by name.
func histograms(r *metrics.Result, show func(metrics.Histogram) bool) []string {
	names := metrics.HistogramNames()
	for _, name := range slices.Sorted(maps.Keys(r.Histograms)) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return slices.DeleteFunc(names, func(name string) bool {
		h := r.Histograms[name]
		return h.Count <= 0 || !show(h)
	})
}

// latencies draws a table of every histogram of times that has samples.
func (p *page) latencies(r *metrics.Result) {
	names := histograms(r, func(h metrics.Histogram) bool { return h.Unit == metrics.Nanoseconds })
	p.line("")
	if len(names) == 0 {
		p.entry("latency", label, []string{"no samples"})
		return
	}
	p.fit(func(count func(int64) string) table {
		t := table{{"latency", "p50", "p90", "p99", "p99.9", "max", "count"}}
		for _, name := range names {
			h := r.Histograms[name]
			row := []string{clean(name)}
			for _, ns := range []int64{h.P50, h.P90, h.P99, h.P999, h.Max} {
				row = append(row, resolved(ns, h.Resolution))
			}
			t = append(t, append(row, count(h.Count)))
		}
		return t
	})
	for _, name := range names {
		if h := r.Histograms[name]; h.Resolution >= tick && h.Min < h.Resolution {
			p.hang("  ", plain, wordsf("%s: 1 tick of the kernel's clock is %s", name, Duration(h.Resolution)), plain)
		}
		if n := r.Histograms[name].Clamped; n > 0 {
			p.hang("  ", warning, wordsf("%s: %s outside of 1 ns … 24 h, counted at the nearest end", name, Count(n)), warning)
		}
	}
}

// fit draws a table with whole counts, or with short ones if those do not fit.
func (p *page) fit(draw func(count func(int64) string) table) {
	t := draw(Count[int64])
	if !t.fits(p.width) {
		t = draw(compact)
	}
	p.table(t)
}

// tick is the shortest of the kernel's clock (HZ=1000).
const tick = 1_000_000

// resolved is a duration that is known in steps: less than one is not zero.
func resolved(ns, step int64) string {
	switch {
	case ns >= step:
		return Duration(ns)
	case step >= tick:
		return "< 1 tick"
	}
	return "<" + Duration(step)
}

// processors shows what a connection cost each side, and how busy the host was.
func (p *page) processors(r *metrics.Result) {
	t := table{{"CPU per connection", "user", "system", "total", "CPUs"}}
	costs := func(u *metrics.Usage) []string {
		if u.PerConnection == 0 { // no attempt ended
			return []string{absent, absent, absent}
		}
		return []string{micros(u.UserPerConnection), micros(u.SystemPerConnection), micros(u.PerConnection)}
	}
	if r.Population != nil {
		t = table{{"CPU per", "opened", "heartbeat", "CPUs"}}
		costs = func(u *metrics.Usage) []string { return []string{cost(u.PerOpened), cost(u.PerHeartbeat)} }
	}
	side := func(name string, u *metrics.Usage) {
		if u == nil {
			return
		}
		t = append(t, slices.Concat([]string{name}, costs(u), []string{processorsUsed(u, r.ElapsedS)}))
	}
	side("client", r.CPU.Client)
	side("server", r.CPU.Server)
	if len(t) == 1 && r.CPU.HostBusy == 0 {
		return
	}
	p.line("")
	if len(t) > 1 {
		p.table(t)
	}
	host := Percent(r.CPU.HostBusy, 0) + " busy"
	if r.Host.CPUs > 0 {
		host = fmt.Sprintf("%s of %s CPUs busy", Percent(r.CPU.HostBusy, 0), Count(r.Host.CPUs))
	}
	if r.CPU.HostSteal > 0 {
		host += ", " + Percent(r.CPU.HostSteal, 0) + " taken by the hypervisor"
	}
	p.hang("  ", plain, words("host "+host), plain)
}

// cost is the processor time of each of something, absent if there was none.
func cost(us float64) string {
	if us == 0 {
		return absent
	}
	return micros(us)
}

func micros(us float64) string { return duration(us * 1e3) }

// processorsUsed is how many processors a side kept busy on average.
func processorsUsed(u *metrics.Usage, elapsed float64) string {
	used := (u.UserS + u.SystemS) / elapsed
	if math.IsNaN(used) || math.IsInf(used, 0) || math.Abs(used) >= 1e6 {
		return absent
	}
	return fmt.Sprintf("%.2f", used)
}

// soundness shows what the server saw, and whether the numbers can be trusted. The worst flag stands
// last, where a reader of a terminal looks first.
func (p *page) soundness(r *metrics.Result) {
	if r.Server == nil && len(r.Checks) == 0 && len(r.Flags) == 0 {
		return
	}
	p.line("")
	p.server(r.Server)
	p.multipath(r.MPTCP)
	p.checks(r.Checks)
	for _, f := range r.Flags {
		if f.Name != invalid && r.Finding(f.Name) == nil { // a finding says more
			p.entry("flag", warning, sentence(f.Name, f.Why))
		}
	}
	for _, f := range r.Flags {
		if f.Name == invalid {
			p.entry("INVALID", alarm, words(f.Why))
		}
	}
}

func (p *page) server(s *metrics.ServerReport) {
	if s == nil {
		return
	}
	items := []string{Count(s.Accepted) + " accepted"}
	for _, reason := range byCount(s.Closed) {
		if reason != completed && s.Closed[reason] > 0 {
			items = append(items, Count(s.Closed[reason])+" "+clean(reason))
		}
	}
	if s.Open > 0 {
		items = append(items, Count(s.Open)+" open")
	}
	if s.WarmUp != nil {
		items = append(items, Count(s.WarmUp.Accepted)+" accepted in the warm-up before")
	}
	p.entry("server", label, listed(items, ","))
}

func (p *page) multipath(m *metrics.MPTCP) {
	if m != nil {
		p.entry("mptcp", label, []string{fmt.Sprintf("%s of %s connections speak Multipath TCP", Count(m.Spoken), Count(m.Spoken+m.Fallbacks))})
	}
}

func (p *page) checks(checks []metrics.Check) {
	if len(checks) == 0 {
		return
	}
	var broken []metrics.Check
	for _, c := range checks {
		if !c.OK {
			broken = append(broken, c)
		}
	}
	p.entry("checks", label, wordsf("%d of %d hold", len(checks)-len(broken), len(checks)))
	for _, c := range broken {
		p.entry("broken", failure, sentence(c.Name, c.Detail))
	}
}

// byCount lists the names with the highest count first.
func byCount(counts map[string]uint64) []string {
	return slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
}
