package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"tcpbench/metrics"
)

// experiment draws what happened to single connections: the client on the left, the server on
// the right, and the link between them, from top to bottom.
func (p *page) experiment(r *metrics.Result) {
	e := r.Experiment
	between := "link"
	if r.Loopback != nil {
		between = "loopback"
	}
	p.line(p.paint(label, ladderHead(between, p.width)))
	for i := range e.Events {
		p.rung(&e.Events[i])
	}
	p.facts(e.Table)
	p.extensions(r)
}

// facts draws the table of an experiment, if it has one.
func (p *page) facts(of *metrics.Table) {
	if of == nil {
		return
	}
	t := table{of.Head}
	for _, r := range of.Rows {
		row := make([]string, len(of.Head))
		row[0] = clean(r.Name)
		for i, v := range r.Cells[:min(len(r.Cells), len(row)-1)] {
			row[i+1] = value(v)
		}
		t = append(t, row)
	}
	p.line("")
	p.table(t)
}

const (
	timeColumn = 11
	sideColumn = 13 // of the longest state, and a space
)

func ladderHead(between string, width int) string {
	head := pad(pad("", timeColumn)+"client", timeColumn+sideColumn+2)
	return pad(head+between, width-len("server")) + "server"
}

// rung draws an event.
func (p *page) rung(e *metrics.Event) {
	at := pad(padLeft(sinceStart(e.T), timeColumn-2), timeColumn)
	text := clean(e.Text)
	if e.Connection != "" {
		text = clean(e.Connection) + ": " + text
	}
	if e.Label != "" {
		text += " (" + clean(e.Label) + ")"
	}
	server := e.Of == "server"
	switch {
	case e.Kind == metrics.Carried:
		p.arrow(at, text, clean(e.Fate), server)
	case e.Kind == metrics.Remark:
		p.hang(at, label, words("· "+text), label)
	case server:
		lines := wrap(words(text), p.width-timeColumn)
		for _, line := range lines {
			p.line(p.paint(label, at) + padLeft(line, p.width-timeColumn))
			at = strings.Repeat(" ", timeColumn)
		}
	default:
		lines := wrap(words(text), p.width-timeColumn)
		for _, line := range lines {
			p.line(p.paint(label, at) + line)
			at = strings.Repeat(" ", timeColumn)
		}
	}
}

// arrow draws a segment. One that is held goes half of the way, and later the rest.
func (p *page) arrow(at, text, fate string, back bool) {
	room := p.width - timeColumn - 2*sideColumn
	i := plain
	before, after, note := "──", "▶", ""
	switch fate {
	case "held":
		after, note = "┤", " held"
	case "lost":
		after, note, i = "✗", " lost", warning
	case "released":
		before = "├─"
	}
	const around = 3 // a dash, and a space on each side
	text = clip(text, p.width-timeColumn-sideColumn-columns(before)-columns(after)-columns(note)-around)
	if back {
		before, after = mirror(after), mirror(before)
		note = strings.TrimSpace(note)
		if note != "" {
			note += " "
		}
		line := room - columns(note) - columns(before) - columns(after) - columns(text) - 2
		p.line(p.paint(label, at) + strings.Repeat(" ", sideColumn) + p.paint(i, note+before+strings.Repeat("─", max(1, line))+" "+text+" "+after))
		return
	}
	line := room - columns(note) - columns(before) - columns(after) - columns(text) - 2
	p.line(p.paint(label, at) + strings.Repeat(" ", sideColumn) + p.paint(i, before+" "+text+" "+strings.Repeat("─", max(1, line))+after+note))
}

// mirror turns an end of an arrow around.
func mirror(s string) string {
	return strings.NewReplacer("▶", "◀", "┤", "├", "├─", "─┤").Replace(s)
}

// sinceStart writes a time since the start.
func sinceStart(t float64) string {
	if t < 10 {
		return fmt.Sprintf("%.1f ms", t*1e3)
	}
	return fmt.Sprintf("%.1f s", t)
}

// extensions lists the counters that tell of TCP's special cases.
func (p *page) extensions(r *metrics.Result) {
	for i := range r.Kernel {
		if items := moved(r.Kernel[i].Counters["TcpExt"]); len(items) > 0 {
			p.line("")
			p.entry(clean(r.Kernel[i].Of), label, listed(items, ","))
		}
		p.trace(r.Kernel[i].Trace)
	}
}

// arms draws the phases of a scenario that claims something, a row each: they are to be
// compared.
func (p *page) arms(r *metrics.Result) {
	t := table{{""}}
	for i := range r.Phases {
		t = append(t, []string{clean(r.Phases[i].Name)})
	}
	for _, c := range armColumns {
		if !slices.ContainsFunc(r.Phases, func(a metrics.Phase) bool { return c.of(&a) != "" }) {
			continue
		}
		t[0] = append(t[0], c.head)
		for i := range r.Phases {
			t[i+1] = append(t[i+1], cmp.Or(c.of(&r.Phases[i]), absent))
		}
	}
	p.table(t)
	p.line("")
	width := 0
	for i := range r.Phases {
		width = max(width, columns(clean(r.Phases[i].Name)))
	}
	for i := range r.Phases {
		a := &r.Phases[i]
		if a.Why != "" {
			p.hang(pad("  "+clean(a.Name), width+4), label, words(a.Why), plain)
		}
		for _, more := range [][2]string{{"costs: ", a.Costs}, {"seen: ", strings.Join(price(a), ", ")}} {
			if more[1] != "" {
				p.hang(strings.Repeat(" ", width+4)+more[0], label, words(more[1]), plain)
			}
		}
	}
}

// armColumns are what is told of each arm. A column in which no arm has anything is left out.
var armColumns = []struct {
	head string
	of   func(*metrics.Phase) string // empty if the arm has no such thing
}{
	{"burst", func(a *metrics.Phase) string {
		if len(a.Bursts) == 0 {
			return ""
		}
		return Count(a.Bursts[len(a.Bursts)-1].Issued)
	}},
	{"requests", unstopped(func(a *metrics.Phase) string { return Count(requests(a)) })},
	{"rate", unstopped(func(a *metrics.Phase) string { return Rate(float64(requests(a)) / a.ElapsedS) })},
	{"failed", func(a *metrics.Phase) string { return Count(a.TotalFailed()) }},
	{"TIME_WAIT", unstopped(func(a *metrics.Phase) string { return Count(mostIn(a, "TIME_WAIT")) })},
	{"queue", func(a *metrics.Phase) string {
		if q := stopped(a); q != nil {
			return Count(q.Peak)
		}
		return ""
	}},
	{"drops", func(a *metrics.Phase) string {
		if q := stopped(a); q != nil {
			return Count(q.Drops)
		}
		return ""
	}},
	{"connect p50", func(a *metrics.Phase) string { return quantile(a, func(h metrics.Histogram) int64 { return h.P50 }) }},
	{"p99", func(a *metrics.Phase) string { return quantile(a, func(h metrics.Histogram) int64 { return h.P99 }) }},
	{"max", func(a *metrics.Phase) string {
		if stopped(a) == nil {
			return ""
		}
		return quantile(a, func(h metrics.Histogram) int64 { return h.Max })
	}},
	{"CPU/req", unstopped(func(a *metrics.Phase) string {
		c, s := a.CPU.Client, a.CPU.Server
		if c == nil || s == nil || requests(a) == 0 {
			return ""
		}
		return micros((c.UserS + c.SystemS + s.UserS + s.SystemS) * 1e6 / float64(requests(a)))
	})},
}

// requests is how many were answered: connections that are kept carry several each.
func requests(a *metrics.Phase) int64 { return a.Histograms[metrics.ExchangeTime].Count }

// price is what was measured of an arm's cost, and how its attempts failed.
func price(a *metrics.Phase) (all []string) {
	for _, c := range []struct {
		n    int64
		what string
	}{
		{a.Counter("Tcp", "EstabResets"), "resets, at both ends (Tcp EstabResets)"},
		{a.Counter("TcpExt", "TCPTimeWaitOverflow"), "closed without TIME_WAIT (TCPTimeWaitOverflow)"},
		{lastIn(a, "server.TIME_WAIT"), "in TIME_WAIT on the server"},
	} {
		if c.n > int64(a.Succeeded/100) {
			all = append(all, Count(c.n)+" "+c.what)
		}
	}
	for _, name := range byCount(a.Failed) {
		all = append(all, Count(a.Failed[name])+" failed: "+clean(name))
	}
	return all
}

// unstopped leaves an arm out whose server was stopped: it shows queues, and no rate.
func unstopped(of func(*metrics.Phase) string) func(*metrics.Phase) string {
	return func(a *metrics.Phase) string {
		if stopped(a) != nil {
			return ""
		}
		return of(a)
	}
}

// quantile is one of the times of connects.
func quantile(a *metrics.Phase, of func(metrics.Histogram) int64) string {
	if h := a.Histograms[metrics.Connect]; h.Count > 0 {
		return Duration(of(h))
	}
	return ""
}

// stopped is the accept queue of a run whose server was stopped, so that connections had to wait
// in it; nil is none.
func stopped(a *metrics.Phase) *metrics.Queue {
	if a.Scenario.Settings["freeze"] == "" {
		return nil
	}
	for i := range a.Kernel {
		if q := a.Kernel[i].Listeners; len(q) > 0 {
			return &q[0]
		}
	}
	return nil
}

// lastIn is how many sockets a side had in a state at the end.
func lastIn(a *metrics.Phase, column string) (n int64) {
	for i := range a.Kernel {
		if c := a.Kernel[i].Timeline.Sockets[column]; len(c) > 0 {
			n = max(n, c[len(c)-1])
		}
	}
	return n
}

// mostIn is the largest number of sockets in a state, on the side that had more.
func mostIn(a *metrics.Phase, state string) (most int64) {
	for i := range a.Kernel {
		for name, column := range a.Kernel[i].Timeline.Sockets {
			if _, s, _ := strings.Cut(name, "."); s == state && len(column) > 0 && !strings.HasPrefix(name, "fullest") {
				most = max(most, slices.Max(column))
			}
		}
	}
	return most
}

// steps draws how long connects took, where some took so long that the kernel's timers show.
func (p *page) steps(r *metrics.Result) {
	const slow = 5e8
	h := r.Histograms[metrics.Connect]
	if r.Verdict == nil || h.Max < slow {
		return
	}
	recorder, err := h.Recorder()
	if err != nil {
		return // Read has refused such a document
	}
	type bar struct {
		head string
		n    int64
	}
	var bars []bar
	most, low := int64(0), int64(0)
	for high := int64(5e8); low <= h.Max; low, high = high, high+1e9 {
		n := recorder.CountBetween(low, high-1)
		head := fmt.Sprintf("%.1f … %.1f s", float64(low)/1e9, float64(high)/1e9)
		bars, most = append(bars, bar{head, n}), max(most, n)
	}
	p.line("")
	p.line(p.paint(label, "connect"))
	for _, b := range bars {
		tail := " " + Count(b.n)
		room := p.width - 20 - columns(tail)
		length := 0
		if most > 0 && b.n > 0 {
			length = max(1, int(b.n*int64(room)/most))
		}
		p.line("  " + p.paint(label, pad(b.head, 18)) + strings.Repeat("█", length) + tail)
	}
}
