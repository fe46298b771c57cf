// Package compare tells whether results differ: of each number that they measured, the
// median of every side with its confidence interval, the difference, and whether noise
// alone would show such a one.
//
// Two opinions. Nothing is assumed of how numbers are distributed: medians have intervals
// from order statistics, and sides are compared by ranks (Mann and Whitney's U). And who
// looks at twenty numbers finds one in twenty that differs by chance, so that what a table
// calls different is held to a level for all of it (Holm's method).
package compare

import (
	"cmp"
	"math"
	"slices"

	"golang.org/x/perf/benchmath"

	"tcpbench/metrics"
)

// Confidence is that of the intervals, and of a table not to call anything different that
// is not.
const Confidence = 0.95

// Side is one of those compared: its name, and a result of each round.
type Side struct {
	Name    string
	Results []*metrics.Result
}

// Table compares sides. The first is what all others are compared with.
type Table struct {
	Sides []string `json:"sides"`
	// Rounds is the number of results of each side.
	Rounds []int `json:"rounds"`
	Rows   []Row `json:"rows"`
	// Enough is the number of rounds from which a table of so many rows can show any
	// difference at all.
	Enough int `json:"enough_rounds"`
}

// Row is one number that results have.
type Row struct {
	Metric string `json:"metric"`
	Unit   string `json:"unit,omitempty"` // ns, 1/s, us, share, or none for a count
	// Cells are of the sides, in their order; Deltas of all but the first.
	Cells  []Cell  `json:"cells"`
	Deltas []Delta `json:"deltas"`
}

// Cell is one number of one side.
type Cell struct {
	// N is how many results have it.
	N      int     `json:"n"`
	Median float64 `json:"median"`
	// Low and High bound the median at 95 %. Both are absent where there are too few
	// results to tell.
	Low  *float64 `json:"low,omitempty"`
	High *float64 `json:"high,omitempty"`
}

// Delta is the difference of a side to the first.
type Delta struct {
	// Ratio is the side's median over the first one's; absent where that is zero.
	Ratio *float64 `json:"ratio,omitempty"`
	// P is how often chance alone would make two sides differ so much, 0 to 1.
	P float64 `json:"p"`
	// Different tells that the difference is none of chance, at 95 % for the whole table.
	Different bool `json:"different"`
	// More is about how many rounds would show a difference of this size, where these do
	// not; zero where there is none to show, or too many are needed.
	More int `json:"rounds_needed,omitempty"`
}

// mostRounds is more than anybody will wait for.
const mostRounds = 200

// Make compares the sides, of which there must be two or more, with results in each.
func Make(sides []Side) *Table {
	t := &Table{}
	for _, s := range sides {
		t.Sides = append(t.Sides, s.Name)
		t.Rounds = append(t.Rounds, len(s.Results))
	}
	for _, m := range metricsOf(sides) {
		samples := make([][]float64, len(sides))
		for i, s := range sides {
			for _, r := range s.Results {
				if v, ok := m.of(r); ok {
					samples[i] = append(samples[i], v)
				}
			}
		}
		t.Rows = append(t.Rows, rowOf(m, samples))
	}
	t.holm()
	tests := 0
	for _, r := range t.Rows {
		tests += len(r.Deltas)
	}
	t.Enough = enough(tests)
	return t
}

func rowOf(m metric, samples [][]float64) Row {
	row := Row{Metric: m.name, Unit: m.unit}
	for _, values := range samples {
		row.Cells = append(row.Cells, cellOf(values))
	}
	for i, values := range samples[1:] {
		row.Deltas = append(row.Deltas, deltaOf(samples[0], values, row.Cells[0], row.Cells[i+1]))
	}
	return row
}

func cellOf(values []float64) Cell {
	c := Cell{N: len(values)}
	if c.N == 0 {
		return c
	}
	s := benchmath.AssumeNothing.Summary(benchmath.NewSample(slices.Clone(values), &benchmath.DefaultThresholds), Confidence)
	c.Median = s.Center
	if !math.IsInf(s.Lo, 0) && !math.IsInf(s.Hi, 0) {
		c.Low, c.High = &s.Lo, &s.Hi
	}
	return c
}

func deltaOf(first, other []float64, before, after Cell) Delta {
	d := Delta{P: 1}
	if len(first) == 0 || len(other) == 0 {
		return d
	}
	if before.Median != 0 {
		ratio := after.Median / before.Median
		d.Ratio = &ratio
	}
	d.P = compareRanks(first, other)
	d.More = needed(first, other)
	return d
}

// compareRanks is the probability that two samples of one distribution differ so much.
func compareRanks(a, b []float64) float64 {
	c := benchmath.AssumeNothing.Compare(
		benchmath.NewSample(slices.Clone(a), &benchmath.DefaultThresholds),
		benchmath.NewSample(slices.Clone(b), &benchmath.DefaultThresholds))
	if math.IsNaN(c.P) {
		return 1
	}
	return c.P
}

// holm decides which differences a table shows: the smallest p is held to the level over
// the number of tests, the next one to that over one test less, until one fails (Holm 1979).
func (t *Table) holm() {
	var all []*Delta
	for i := range t.Rows {
		for k := range t.Rows[i].Deltas {
			all = append(all, &t.Rows[i].Deltas[k])
		}
	}
	slices.SortStableFunc(all, func(a, b *Delta) int { return cmp.Compare(a.P, b.P) })
	for i, d := range all {
		if d.P > (1-Confidence)/float64(len(all)-i) {
			break
		}
		d.Different, d.More = true, 0
	}
}

// enough is the number of rounds with which the ranks of two sides that do not overlap
// pass the strictest of so many tests.
func enough(tests int) int {
	if tests == 0 {
		return 0
	}
	for n := 2; ; n++ {
		// 2 of all the ways to choose n ranks of 2n.
		ways := 1.0
		for k := 1; k <= n; k++ {
			ways *= float64(n+k) / float64(k)
		}
		if 2/ways <= (1-Confidence)/float64(tests) {
			return n
		}
	}
}

// needed is about how many rounds a rank test needs for the difference that two samples
// show, to find it four times of five (at 5 %): 2 (z1+z2)² σ²/δ², over the efficiency of ranks.
func needed(a, b []float64) int {
	const z = 1.96 + 0.84
	mean := func(v []float64) (sum float64) {
		for _, x := range v {
			sum += x / float64(len(v))
		}
		return sum
	}
	ma, mb := mean(a), mean(b)
	squares := 0.0
	for _, x := range a {
		squares += (x - ma) * (x - ma)
	}
	for _, x := range b {
		squares += (x - mb) * (x - mb)
	}
	degrees := len(a) + len(b) - 2
	if degrees < 1 || ma == mb || squares == 0 {
		return 0
	}
	n := 2 * z * z * squares / float64(degrees) / ((ma - mb) * (ma - mb)) * math.Pi / 3
	if n > mostRounds {
		return 0
	}
	return max(int(math.Ceil(n)), 4)
}
