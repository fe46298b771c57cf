package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"tcpbench/metrics/compare"
)

// Table writes a comparison: in what the runs differed, and what became of it.
func Table(w io.Writer, t *compare.Table, differences []compare.Difference, style Style) error {
	p := style.page()
	p.differences(t.Sides, differences)
	for i := range t.Sides {
		p.entry(letter(i), label, strings.Fields(fmt.Sprintf("%s, %s", clean(t.Sides[i]), plural(t.Rounds[i], "result"))))
	}
	for i := range t.Sides[1:] {
		p.line("")
		p.pair(t, i+1)
	}
	p.line("")
	fewest := slices.Min(t.Rounds)
	if fewest < t.Enough {
		p.hang("", plain, strings.Fields(fmt.Sprintf("With %s no difference can be shown, however large: it takes %d of each side.", plural(fewest, "result"), t.Enough)), warning)
	}
	p.hang("", plain, strings.Fields("Medians, ± the wider half of their 95 % interval. A difference is shown where chance alone would show one in this table less than once in twenty (ranks, Holm)."), label)
	return p.flush(w)
}

// letter names a side in the heading of a table.
func letter(i int) string { return string(rune('A' + i%26)) }

// differences tells in what the runs were not alike.
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
			values[k] = letter(k) + " " + v
		}
		text := clean(d.What) + ": " + strings.Join(values, ", ")
		if d.Unfair != "" {
			text += ": " + d.Unfair
		}
		p.entry(head, i, strings.Fields(text))
	}
	if len(all) > 0 {
		p.line("")
	}
}

// pair compares a side with the first.
func (p *page) pair(t *compare.Table, side int) {
	out := table{{"", letter(0), "±", letter(side), "±", "difference", "p"}}
	var needed []string
	for _, r := range t.Rows {
		a, b, d := r.Cells[0], r.Cells[side], r.Deltas[side-1]
		out = append(out, []string{clean(r.Metric), amount(a, r.Unit), spread(a), amount(b, r.Unit), spread(b), difference(a, b, d), probability(d)})
		if d.More > t.Rounds[side] {
			needed = append(needed, fmt.Sprintf("%s %d", clean(r.Metric), d.More))
		}
	}
	// What a narrow terminal has no room for is in the JSON.
	for _, columns := range [][]int{{0, 1, 2, 3, 4, 5, 6}, {0, 1, 2, 3, 4, 5}, {0, 1, 3, 5}} {
		fewer := table{}
		for _, row := range out {
			var cells []string
			for _, c := range columns {
				cells = append(cells, row[c])
			}
			fewer = append(fewer, cells)
		}
		if fewer.fits(p.width) || len(columns) == 4 {
			out = fewer
			break
		}
	}
	p.table(out)
	if len(needed) > 0 {
		p.hang("  ", plain, strings.Fields("About so many rounds would show a difference of the size seen: "+strings.Join(needed, ", ")+"."), label)
	}
}

func amount(c compare.Cell, unit string) string {
	switch {
	case c.N == 0:
		return absent
	case unit == "ns":
		return duration(c.Median)
	case unit == "us":
		return duration(c.Median * 1e3)
	case unit == "1/s":
		return Rate(c.Median)
	}
	return Count(int64(c.Median))
}

// spread is the wider half of the interval, as a share of the median.
func spread(c compare.Cell) string {
	if c.Low == nil || c.High == nil || c.Median == 0 {
		return absent
	}
	return Percent(max(*c.High-c.Median, c.Median-*c.Low)/c.Median, 0)
}

func difference(a, b compare.Cell, d compare.Delta) string {
	switch {
	case a.N == 0 || b.N == 0:
		return absent
	case !d.Different:
		return "none shown"
	case d.Ratio == nil:
		return "was 0"
	}
	return fmt.Sprintf("%+.1f %%", 100*(*d.Ratio-1))
}

func probability(d compare.Delta) string {
	if d.P < 0.0001 {
		return "<0.0001"
	}
	return fmt.Sprintf("%.4f", d.P)
}
