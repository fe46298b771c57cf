package report

import (
	"fmt"
	"math"
	"strings"

	"tcpbench/metrics"
)

// judged says of each expression whether it held, and what was measured. missing is the word for one
// without a sample.
func (p *page) judged(all []metrics.Expectation, missing string) {
	if len(all) == 0 {
		return
	}
	p.line("")
	for _, e := range all {
		head, i := "FAIL", failure
		switch {
		case e.Pass:
			head, i = "PASS", success
		case e.Reason != "":
			head = missing
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
	case metrics.Text:
		return clean(v.Text)
	case metrics.Nanoseconds:
		return duration(v.Value)
	case "s":
		return duration(v.Value * 1e9)
	case metrics.PerSecond:
		return Rate(v.Value)
	case metrics.Share:
		return Percent(v.Value, 1)
	}
	if v.Value != math.Trunc(v.Value) {
		return strings.TrimSpace(fmt.Sprintf("%.3g %s", v.Value, v.Unit))
	}
	return strings.TrimSpace(Count(int64(v.Value)) + " " + v.Unit)
}
