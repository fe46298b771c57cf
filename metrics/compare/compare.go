// Package compare shows which differences between results are significant: the median of each number
// on every side, and the ratio of a side to the first one with its interval.
//
// Tests and intervals come from ranks, so no distribution is assumed. Only runs taken in turns are
// tested, because a machine drifts. Of twenty numbers one differs by chance, so the confidence is that
// of a whole table (Holm's method).
package compare

import (
	"cmp"
	"math"
	"slices"

	"tcpbench/metrics"
)

// Confidence is the chance that a table of equal sides shows no difference.
const Confidence = 0.95

// Side is one of those compared: its name, and a result of each round.
type Side struct {
	Name    string
	Results []*metrics.Result
}

// Report is a comparison with all that limits what it says.
type Report struct {
	Cautions    []Caution    `json:"cautions"`
	Unapplied   []Unapplied  `json:"unapplied"`
	Differences []Difference `json:"differences"`
	*Table
}

// Of compares two or more sides, each with results.
func Of(sides []Side) *Report {
	return &Report{
		Cautions:    append([]Caution{}, cautions(sides)...),
		Unapplied:   append([]Unapplied{}, unapplied(sides)...),
		Differences: append([]Difference{}, Differences(sides)...),
		Table:       Make(sides),
	}
}

// Table compares the first side with all others.
type Table struct {
	Sides  []string `json:"sides"`
	Rounds []int    `json:"rounds"` // the number of results of each side
	// Paired is the number of rounds in which every side ran once. Only these are tested.
	Paired int `json:"paired_rounds"`
	// Untested says why no difference can be significant, and Command how to find out. Both are
	// empty if the sides ran in turns.
	Untested string `json:"untested,omitempty"`
	Command  string `json:"command,omitempty"`
	Rows     []Row  `json:"rows"`
	// Enough is the fewest rounds with which a table of so many rows can show any difference.
	Enough int `json:"enough_rounds"`
}

// Row is one number that results have.
type Row struct {
	Metric string `json:"metric"`
	Unit   string `json:"unit,omitempty"` // ns, 1/s, or 1/conn
	// Better says which change is good, and Evidence that the number explains others.
	Better   metrics.Direction `json:"better,omitempty"`
	Evidence bool              `json:"evidence,omitempty"`
	// Cells are those of each side, Deltas of each but the first.
	Cells  []Cell  `json:"cells"`
	Deltas []Delta `json:"deltas"`
}

// Cell is one number of one side, over its results.
type Cell struct {
	N      int     `json:"n"`             // results that have it
	Why    string  `json:"why,omitempty"` // why others do not
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// Delta is the difference of a side to the first.
type Delta struct {
	// Ratio is the side's number over the first one's: the middle of the ratios of rounds if the row
	// was tested, else that of the medians. It is nil if the first one's is zero.
	Ratio *float64 `json:"ratio,omitempty"`
	// Low and High bound the ratio at the level at which the table decides the row: it differs exactly
	// if 1 lies outside. They are nil if there are too few rounds, or if a value is zero.
	Low  *float64 `json:"low,omitempty"`
	High *float64 `json:"high,omitempty"`
	// Noise is how far the ratio of a side to itself lies from 1 in 19 of 20 comparisons with so many
	// rounds, measured on successive rounds of the same side.
	Noise *float64 `json:"noise,omitempty"`
	// P is how often chance alone makes such a difference; nil if not tested.
	P         *float64 `json:"p,omitempty"`
	Different bool     `json:"different"` // significant after Holm's correction
	// More is about how many rounds would show a difference of this size, if these do not. It is zero
	// if there is none to show, or if that takes too many.
	More int `json:"rounds_needed,omitempty"`

	test  *test
	level float64 // at which the table decides the row
}

// Make compares the sides.
func Make(sides []Side) *Table {
	t := &Table{Rows: []Row{}}
	for _, s := range sides {
		t.Sides = append(t.Sides, s.Name)
		t.Rounds = append(t.Rounds, len(s.Results))
	}
	rounds, untested := inTurns(sides)
	t.Untested, t.Paired = untested, len(rounds)
	for _, n := range numbersOf(sides) {
		t.Rows = append(t.Rows, rowOf(n, sides, rounds))
	}
	t.decide()
	// A table that tests nothing yet will test all of its rows.
	t.Enough = enough(max(len(t.tests()), len(t.Rows)*(len(sides)-1)))
	if untested != "" {
		usual, _ := Rounds(len(sides))
		t.Command = again(sides, usual)
	}
	return t
}

func rowOf(n number, sides []Side, rounds [][]*metrics.Result) Row {
	row := Row{Metric: n.Name, Unit: n.Unit, Better: n.Better, Evidence: n.Evidence}
	for _, s := range sides {
		row.Cells = append(row.Cells, n.cell(s.Results))
	}
	for side := 1; side < len(sides); side++ {
		row.Deltas = append(row.Deltas, n.delta(row.Cells[0], row.Cells[side], rounds, side))
	}
	return row
}

// cell sums up a side.
func (n *number) cell(results []*metrics.Result) Cell {
	var values []float64
	few := 0
	for _, r := range results {
		if v, ok := n.of(r); ok {
			values = append(values, v)
		} else if n.few(r) {
			few++
		}
	}
	c := Cell{N: len(values)}
	if few > 0 {
		c.Why = n.tooFew(few, len(results))
	}
	if c.N > 0 {
		slices.Sort(values)
		c.Median, c.Min, c.Max = middle(values), values[0], values[c.N-1]
	}
	return c
}

// delta compares a side with the first, by the rounds in which both have the number.
func (n *number) delta(before, after Cell, rounds [][]*metrics.Result, side int) Delta {
	d := Delta{}
	if before.N > 0 && after.N > 0 && before.Median != 0 {
		ratio := after.Median / before.Median
		d.Ratio = &ratio
	}
	var a, b []float64
	for _, round := range rounds {
		x, ok := n.of(round[0])
		y, also := n.of(round[side])
		if ok && also {
			a, b = append(a, x), append(b, y)
		}
	}
	if len(a) < 2 {
		return d
	}
	d.test = newTest(a, b)
	p := d.test.p()
	d.P = &p
	if d.test.logs {
		ratio := math.Exp(middle(d.test.averages))
		d.Ratio = &ratio
		d.Noise = noise(d.test.a, d.test.b)
	}
	return d
}

func (t *Table) tests() (all []*Delta) {
	for i := range t.Rows {
		for k := range t.Rows[i].Deltas {
			if d := &t.Rows[i].Deltas[k]; d.test != nil {
				all = append(all, d)
			}
		}
	}
	return all
}

// decide marks the significant differences (Holm 1979): the smallest p is compared with the level over
// the number of tests, the next one with that over one test less, until one fails. Its level is that
// of all after it. An interval has the level of its row, so it never contradicts the decision.
func (t *Table) decide() {
	all := t.tests()
	slices.SortStableFunc(all, func(a, b *Delta) int { return cmp.Compare(*a.P, *b.P) })
	failed := false
	level := 0.0
	for i, d := range all {
		if !failed {
			level = (1 - Confidence) / float64(len(all)-i)
			failed = *d.P > level
		}
		d.level, d.Different = level, !failed
		if failed {
			d.More = d.test.needed(level)
		}
		if low, high, ok := d.test.interval(level); ok && d.test.logs {
			low, high = math.Exp(low), math.Exp(high)
			d.Low, d.High = &low, &high
		}
	}
}

// middle is the median of sorted values.
func middle(sorted []float64) float64 {
	n := len(sorted)
	if n == 0 {
		return math.NaN()
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
