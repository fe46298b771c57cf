package report

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"tcpbench/metrics"
	"tcpbench/metrics/compare"
)

// Comparison writes the cautions, how the sides differed, and a table for each side but the first.
func Comparison(w io.Writer, c *compare.Report, style Style) error {
	p := style.page()
	p.cautions(c.Cautions)
	p.unapplied(c)
	p.differences(c.Sides, c.Differences)
	for i := range c.Sides {
		p.entry(compare.Letter(i), label, wordsf("%s, %s", c.Sides[i], Plural(c.Rounds[i], "result")))
	}
	for i := range c.Sides[1:] {
		p.line("")
		p.pair(c.Table, i+1)
	}
	p.line("")
	p.decided(c.Table)
	return p.flush(w)
}

func (p *page) cautions(all []compare.Caution) {
	for _, c := range all {
		head, i := "caution", warning
		if c.Alarm {
			head, i = "INVALID", alarm
		}
		p.entry(head, i, words(c.Text))
	}
	if len(all) > 0 {
		p.line("")
	}
}

// unapplied lists the settings of profiles that the kernel did not take.
func (p *page) unapplied(c *compare.Report) {
	for _, u := range c.Unapplied {
		host := ""
		if u.Host != "both" {
			host = u.Host + " "
		}
		side := compare.Letter(max(0, slices.Index(c.Sides, u.Side)))
		p.entry("not set", warning, wordsf("%s %s%s = %s: %s", side, host, u.Key, u.Value, u.Reason))
	}
	if len(c.Unapplied) > 0 {
		p.line("")
	}
}

// differences lists how the runs were not alike.
func (p *page) differences(sides []string, all []compare.Difference) {
	for _, d := range all {
		i, head := label, "differs"
		if d.Unfair != "" {
			i, head = warning, "UNFAIR"
		}
		values := make([]string, len(sides))
		for k := range sides {
			v := ""
			if k < len(d.Values) {
				v = clean(d.Values[k])
			}
			if v == "" {
				v = "none"
			}
			values[k] = compare.Letter(k) + " " + v
		}
		text := clean(d.What) + ": " + strings.Join(values, ", ")
		if d.Unfair != "" {
			text += ": " + d.Unfair
		}
		p.entry(head, i, words(text))
	}
	if len(all) > 0 {
		p.line("")
	}
}

// pair compares a side with the first.
func (p *page) pair(t *compare.Table, side int) {
	a, b := compare.Letter(0), compare.Letter(side)
	out := table{{"", a, b, b + "/" + a, "interval", a + "/" + a, "p", ""}}
	var needed []string
	empty := map[string][]string{} // numbers by the reason why cells are empty
	for _, r := range t.Rows {
		before, after, d := r.Cells[0], r.Cells[side], r.Deltas[side-1]
		out = append(out, []string{
			shortName(r.Metric), amount(before, r.Unit), amount(after, r.Unit), effect(before, after, d), interval(d), noise(d), probability(d), decision(d),
		})
		if d.More > t.Paired {
			needed = append(needed, fmt.Sprintf("%s %d", shortName(r.Metric), d.More))
		}
		switch {
		case before.Why == after.Why:
			empty[before.Why] = append(empty[before.Why], shortName(r.Metric))
		default:
			empty[before.Why] = append(empty[before.Why], shortName(r.Metric)+" of "+a)
			empty[after.Why] = append(empty[after.Why], shortName(r.Metric)+" of "+b)
		}
	}
	p.table(p.fitting(out, t.Untested == ""))
	for _, why := range slices.Sorted(maps.Keys(empty)) {
		if why != "" {
			p.hang("  ", plain, words(strings.Join(empty[why], ", ")+": "+why+"."), label)
		}
	}
	if len(needed) > 0 {
		p.hang("  ", plain, words("About so many rounds would show a difference of the size seen: "+strings.Join(needed, ", ")+"."), label)
	}
}

// fitting leaves out columns for which there is no room, or for which nothing was tested. The JSON has
// them.
func (p *page) fitting(whole table, tested bool) table {
	choices := [][]int{{0, 1, 2, 3, 4, 5, 6, 7}, {0, 1, 2, 3, 4, 5, 7}, {0, 1, 2, 3, 4, 7}, {0, 1, 2, 3, 7}}
	if !tested {
		choices = [][]int{{0, 1, 2, 3}}
	}
	for n, columns := range choices {
		some := table{}
		for _, row := range whole {
			var cells []string
			for _, c := range columns {
				cells = append(cells, row[c])
			}
			some = append(some, cells)
		}
		if _, fits := some.lines(p.width, 1, false); fits || n == len(choices)-1 {
			return some
		}
	}
	return whole
}

// decided says how to read the table, or why no difference can be significant.
func (p *page) decided(t *compare.Table) {
	if t.Untested != "" {
		p.hang("", plain, words("No difference can be called significant: "+t.Untested+". This would tell:"), warning)
		p.line("  " + clean(t.Command))
		return
	}
	if t.Paired < t.Enough {
		p.hang("", plain, wordsf("With %s no difference can be shown, however large: it takes %d.", Plural(t.Paired, "round"), t.Enough), warning)
	}
	if fewest := slices.Min(t.Rounds); fewest > t.Paired {
		p.hang("", plain, wordsf("Only the %s in which every side ran are tested.", Plural(t.Paired, "round")), warning)
	}
	p.hang("", plain, words("Medians, and the ratio within rounds with its interval. A/A, if there is room, is how far a side differs from itself, 19 times of 20. A row differs "+
		"if its interval excludes 0 %: chance alone makes any row of this table differ less than once in twenty (signed ranks, Holm). "+
		"Else it is unclear: a difference within the interval may be there."), label)
}

// shortName leaves out the kernel's usual group of counters, for which a table has no room.
func shortName(metric string) string { return clean(strings.TrimPrefix(metric, "TcpExt.")) }

func amount(c compare.Cell, unit string) string {
	switch {
	case c.N == 0:
		return absent
	case unit != compare.PerConnection:
		return value(metrics.Value{Value: c.Median, Unit: unit})
	case c.Median == 0:
		return "0"
	}
	text, rounded := threeDigits(c.Median)
	if math.Abs(rounded) < 0.01 {
		return fmt.Sprintf("%.2g", c.Median)
	}
	return text
}

// effect is the ratio, as a change.
func effect(a, b compare.Cell, d compare.Delta) string {
	switch {
	case a.N == 0 || b.N == 0:
		return absent
	case d.Ratio != nil:
		return change(*d.Ratio)
	case b.Median != 0:
		return "was 0"
	}
	return absent
}

// change writes a ratio as a change in percent, or as a factor from ten on.
func change(ratio float64) string {
	switch c := 100 * (ratio - 1); {
	case math.Abs(c) < 9.95:
		return fmt.Sprintf("%+.1f %%", c)
	case c < 1000:
		return fmt.Sprintf("%+.0f %%", c)
	}
	return fmt.Sprintf("×%.3g", ratio)
}

func interval(d compare.Delta) string {
	if d.Low == nil || d.High == nil {
		return absent
	}
	return strings.TrimSuffix(change(*d.Low), " %") + "…" + change(*d.High)
}

func noise(d compare.Delta) string {
	if d.Noise == nil {
		return absent
	}
	return "±" + strings.TrimPrefix(change(1+*d.Noise), "+")
}

func probability(d compare.Delta) string {
	switch {
	case d.P == nil:
		return absent
	case *d.P < 0.0001:
		return "<0.0001"
	}
	return fmt.Sprintf("%.4f", *d.P)
}

func decision(d compare.Delta) string {
	switch {
	case d.P == nil:
		return ""
	case d.Different:
		return "differs"
	}
	return "unclear"
}
