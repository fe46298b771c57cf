package compare

import (
	"math"

	"github.com/aclements/go-moremath/stats"
)

const (
	usualRows = 13 // of a table of two sides
	// spare rounds are added to the fewest: otherwise one round that goes the other way hides a
	// difference.
	spare      = 2
	mostRounds = 200 // nobody waits for more
	power      = 0.8 // how often the rounds that a table asks for show a difference of the size seen
)

// enough is the fewest rounds with which the strictest of so many signed-rank tests can pass: all
// rounds have the same sign, which has a chance of 2^(1-n).
func enough(tests int) int {
	if tests == 0 {
		return 0
	}
	n := 2
	for math.Exp2(float64(1-n)) > (1-Confidence)/float64(tests) {
		n++
	}
	return n
}

// Rounds returns how many a comparison of so many sides should have, and the fewest with which it can
// show a difference.
func Rounds(sides int) (usual, fewest int) {
	fewest = enough(usualRows * (sides - 1))
	return fewest + spare, fewest
}

// needed is about how many rounds would find the difference seen, at the level of its row: Noether's
// (z1+z2)² σ²/δ² over the efficiency of ranks, plus z1²/2 for small samples (Guenther 1981), and at
// least as many as the test needs to pass at all.
func (t *test) needed(level float64) int {
	delta, variance := middle(t.averages), varianceOf(t.b, t.a)
	if delta == 0 || variance == 0 || math.IsNaN(variance) {
		return 0
	}
	z := stats.StdNormal.InvCDF(1 - level/2)
	n := math.Pow(z+stats.StdNormal.InvCDF(power), 2)*variance/(delta*delta)*math.Pi/3 + z*z/2
	if n > mostRounds {
		return 0
	}
	return max(int(math.Ceil(n)), enough(int(math.Round((1-Confidence)/level))))
}

// varianceOf is that of the differences within rounds.
func varianceOf(a, b []float64) float64 {
	s := stats.Sample{}
	for i := range a {
		s.Xs = append(s.Xs, a[i]-b[i])
	}
	return s.Variance()
}

// noise is the share by which a side differs from itself in 19 of 20 comparisons with so many rounds.
// Successive rounds of the same side are the pairs; it is nil if there are too few.
func noise(sides ...[]float64) *float64 {
	const fewest = 6
	squares, n := 0.0, 0
	for _, logs := range sides {
		for i := 1; i < len(logs); i++ {
			d := logs[i] - logs[i-1]
			squares += d * d
			n++
		}
	}
	if n < fewest {
		return nil
	}
	z := stats.StdNormal.InvCDF((1 + Confidence) / 2)
	floor := math.Exp(z*math.Sqrt(squares/float64(n)/float64(len(sides[0]))*math.Pi/3)) - 1
	return &floor
}
