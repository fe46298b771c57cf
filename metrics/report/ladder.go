package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"tcpbench/metrics"
)

// experiment draws what happened to single connections from top to bottom: the client on the left, the
// server on the right, the link between them.
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
	switch {
	case e.Kind == metrics.Carried:
		p.arrow(at, text, clean(e.Fate), e.Of == "server")
	case e.Kind == metrics.Remark:
		p.hang(at, label, words("· "+text), label)
	default:
		for _, line := range wrap(words(text), p.width-timeColumn) {
			if e.Of == "server" {
				line = padLeft(line, p.width-timeColumn)
			}
			p.line(p.paint(label, at) + line)
			at = strings.Repeat(" ", timeColumn)
		}
	}
}

// arrow draws a segment. A held one goes half of the way, and the rest when it is released.
func (p *page) arrow(at, text, fate string, back bool) {
	i := plain
	before, after, note := "──", "▶", ""
	switch fate {
	case "held":
		after, note = "┤", "held"
	case "lost":
		after, note, i = "✗", "lost", warning
	case "released":
		before = "├─"
	}
	room := p.width - timeColumn - sideColumn - columns(before) - columns(after)
	if note != "" {
		room -= 1 + columns(note)
	}
	text = clip(text, room-3) // a dash, and a space on each side
	line := strings.Repeat("─", max(1, room-sideColumn-columns(text)-2))
	arrow := before + " " + text + " " + line + after + " " + note
	if back {
		arrow = note + " " + mirror(after) + line + " " + text + " " + mirror(before)
	}
	p.line(p.paint(label, at) + strings.Repeat(" ", sideColumn) + p.paint(i, strings.TrimSpace(arrow)))
}

// mirror reverses an end of an arrow.
func mirror(s string) string {
	return strings.NewReplacer("▶", "◀", "┤", "├", "├─", "─┤").Replace(s)
}

// sinceStart writes seconds since the start.
func sinceStart(t float64) string {
	if t < 10 {
		return fmt.Sprintf("%.1f ms", t*1e3)
	}
	return fmt.Sprintf("%.1f s", t)
}

// extensions lists the counters of TCP's special cases.
func (p *page) extensions(r *metrics.Result) {
	for i := range r.Kernel {
		if items := moved(r.Kernel[i].Counters["TcpExt"]); len(items) > 0 {
			p.line("")
			p.entry(clean(r.Kernel[i].Of), label, listed(items, ","))
		}
		p.trace(r.Kernel[i].Trace)
	}
}

// arms draws the phases of a scenario with a claim in a table, to be compared.
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
	for _, row := range t[1:] {
		width = max(width, columns(row[0]))
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

// armColumns are the columns of that table. One that is empty for every arm is left out.
var armColumns = []struct {
	head string
	of   func(*metrics.Phase) string
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
	{"TIME_WAIT", unstopped(func(a *metrics.Phase) string { return Count(int64(measured(a, "TIME_WAIT.max"))) })},
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
	{"connect p50", func(a *metrics.Phase) string { return quantity(a, "connect.p50") }},
	{"p99", func(a *metrics.Phase) string { return quantity(a, "connect.p99") }},
	{"max", func(a *metrics.Phase) string {
		if stopped(a) == nil {
			return ""
		}
		return quantity(a, "connect.max")
	}},
	{"CPU/req", unstopped(func(a *metrics.Phase) string {
		c, s := a.CPU.Client, a.CPU.Server
		if c == nil || s == nil || requests(a) == 0 {
			return ""
		}
		return micros((c.UserS + c.SystemS + s.UserS + s.SystemS) * 1e6 / float64(requests(a)))
	})},
}

// requests are those that were answered: a connection can carry several.
func requests(a *metrics.Phase) int64 { return a.Histograms[metrics.ExchangeTime].Count }

// price is the measured cost of an arm, and how its attempts failed.
func price(a *metrics.Phase) (all []string) {
	for _, c := range []struct {
		n    int64
		what string
	}{
		{a.Counter("Tcp", "EstabResets"), "resets, at both ends (Tcp EstabResets)"},
		{a.Counter("TcpExt", "TCPTimeWaitOverflow"), "closed without TIME_WAIT (TCPTimeWaitOverflow)"},
		{int64(measured(a, "server.TIME_WAIT.last")), "in TIME_WAIT on the server"},
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

// unstopped leaves out an arm whose server was stopped: it shows queues, not rates.
func unstopped(of func(*metrics.Phase) string) func(*metrics.Phase) string {
	return func(a *metrics.Phase) string {
		if stopped(a) != nil {
			return ""
		}
		return of(a)
	}
}

// quantity shows one of an arm; empty if there is no sample.
func quantity(a *metrics.Phase, name string) string {
	q, _ := metrics.FindQuantity(name)
	if v, ok := q.Value(&a.Result); ok {
		return value(v)
	}
	return ""
}

// measured is zero if there is no sample.
func measured(a *metrics.Phase, name string) float64 {
	q, _ := metrics.FindQuantity(name)
	n, _ := q.Of(&a.Result)
	return n
}

// stopped is the accept queue of an arm whose server was stopped so that connections waited in it, or
// nil.
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

// steps draws how long connects took, if the slowest show the kernel's timers.
func (p *page) steps(r *metrics.Result) {
	const slow = 5e8
	h := r.Histograms[metrics.Connect]
	if r.Verdict == nil || h.Max < slow {
		return
	}
	recorder, err := h.Recorder()
	if err != nil {
		return // Read refuses such a document
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
