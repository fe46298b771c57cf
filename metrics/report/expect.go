package report

import (
	"fmt"
	"math"
	"strings"

	"tcpbench/metrics"
)

const success ink = "\x1b[32m" // green: what was to hold does

// rule is a line across the page with a title.
func (p *page) rule(title string) {
	head := "── " + title + " "
	p.line(p.paint(label, head+strings.Repeat("─", max(0, p.width-columns(head)))))
}

// expectations tells of each expression whether it held, and what was measured. What could not
// be measured is not met.
func (p *page) expectations(all []metrics.Expectation) { p.judged(all, "FAIL") }

// judged does the same, with a word for an expression of which something was not measured.
func (p *page) judged(all []metrics.Expectation, missing string) {
	if len(all) == 0 {
		return
	}
	p.line("")
	for _, e := range all {
		head, i := "PASS", success
		switch {
		case e.Pass:
		case e.Reason == "":
			head, i = "FAIL", failure
		default:
			head, i = missing, failure
		}
		items := []string{clean(e.Expression)}
		for _, v := range e.Values {
			items = append(items, clean(v.Name)+" = "+value(v))
		}
		if e.Reason != "" {
			items = append(items, clean(e.Reason))
		}
		p.entry(head, i, listed(items, " ·"))
	}
}

// value writes a measured value in its unit.
func value(v metrics.Value) string {
	switch v.Unit {
	case "text":
		return clean(v.Text)
	case "ns":
		return duration(v.Value)
	case "s":
		return duration(v.Value * 1e9)
	case "1/s":
		return Rate(v.Value)
	case "share":
		return Percent(v.Value, 1)
	}
	if v.Value != math.Trunc(v.Value) {
		return strings.TrimSpace(fmt.Sprintf("%.3g %s", v.Value, v.Unit))
	}
	return strings.TrimSpace(Count(int64(v.Value)) + " " + v.Unit)
}
