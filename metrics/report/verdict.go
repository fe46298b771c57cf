package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"tcpbench/metrics"
)

// claim shows what the scenario claims, and its steps.
func (p *page) claim(v *metrics.Verdict) {
	if v == nil {
		return
	}
	p.entry("claim", label, words(v.Claim))
	p.line("")
	for i, s := range v.Steps {
		head := "        "
		if i == 0 {
			head = pad("steps", 8)
		}
		p.hang(head+fmt.Sprintf("%d. ", i+1), label, words(s), plain)
	}
	if len(v.Steps) > 0 {
		p.line("")
	}
}

// verdict says whether the run has shown the claim, by which evidence, and what to do about it.
func (p *page) verdict(r *metrics.Result) {
	v := r.Verdict
	if v == nil {
		return
	}
	p.timelines(r)
	p.line("")
	for _, k := range standings {
		if k.standing != v.Outcome {
			continue
		}
		if v.Why == "" {
			p.line(p.paint(k.ink, k.line))
		} else {
			p.hang(k.line+": ", k.ink, words(v.Why), plain)
		}
	}
	p.judged(v.Evidence, "NO DATA")
	if v.Production != "" {
		p.line("")
		p.entry("in use", label, words(v.Production))
	}
}

// timelines draws how many sockets each side had in each state.
func (p *page) timelines(r *metrics.Result) {
	const head = 24
	for i := range r.Kernel {
		t := &r.Kernel[i].Timeline
		if len(t.T) < 2 {
			continue
		}
		var names []string
		for _, name := range slices.Sorted(maps.Keys(t.Sockets)) {
			side, state, _ := strings.Cut(name, ".")
			own := r.Kernel[i].Of == side || r.Kernel[i].Of == "both" && (side == "client" || side == "server")
			if own && state != "LISTEN" && slices.Max(append([]int64{0}, t.Sockets[name]...)) > 0 {
				names = append(names, name)
			}
		}
		if len(names) == 0 {
			continue
		}
		p.line("")
		p.line(p.paint(label, fmt.Sprintf("sockets%s, from %.1f s to %.1f s", of(&r.Kernel[i]), t.T[0], t.T[len(t.T)-1])))
		for _, name := range names {
			column := t.Sockets[name]
			most := slices.Max(column)
			tail := " up to " + Count(most)
			p.line("  " + p.paint(label, pad(clean(name), head)) + spark(column, max(10, p.width-head-2-columns(tail))) + tail)
		}
	}
}

// of says whose namespace it is.
func of(v *metrics.Namespace) string {
	if v.Of == "both" {
		return ""
	}
	return " of the " + clean(v.Of)
}

var bars = []rune(" ▁▂▃▄▅▆▇█")

// spark draws a series in at most width columns, each as high as the largest value in it.
func spark(series []int64, width int) string {
	width = min(width, len(series))
	most := slices.Max(series)
	if width == 0 || most <= 0 {
		return ""
	}
	var b strings.Builder
	for c := range width {
		part := series[c*len(series)/width : max(c*len(series)/width+1, (c+1)*len(series)/width)]
		v := max(slices.Max(part), 0)
		bar := int(v * int64(len(bars)-1) / most)
		if v > 0 {
			bar = max(bar, 1)
		}
		b.WriteRune(bars[bar])
	}
	return b.String()
}
