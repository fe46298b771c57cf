package compare

import (
	"math"

	"github.com/aclements/go-moremath/stats"
)

const (
	// usualRows is the size of a table of two sides, about.
	usualRows = 13
	// spare is how many rounds more than the fewest a comparison gets: with the fewest, a
	// single round that goes the other way hides a difference.
	spare = 2
	// mostRounds is more than anybody waits for.
	mostRounds = 200
	// power is how often the rounds that a table asks for show a difference of the size seen.
	power = 0.8
)

// enough is the number of rounds with which the strictest of so many signed-rank tests can
// pass: all rounds have one sign, of 2^n.
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

// Rounds is how many a comparison of so many sides should have, and the fewest with which it
// can show anything.
func Rounds(sides int) (usual, fewest int) {
	fewest = enough(usualRows * (sides - 1))
	return fewest + spare, fewest
}

// needed is about how many rounds find the difference seen, at the level at which the table
// decides it: Noether's (z1+z2)² σ²/δ² over the efficiency of ranks, and z1²/2 for small samples
// (Guenther 1981). No row can pass with fewer rounds than its test has at its best.
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

// varianceOf is that of a less b within rounds.
func varianceOf(a, b []float64) float64 {
	s := stats.Sample{}
	for i := range a {
		s.Xs = append(s.Xs, a[i]-b[i])
	}
	return s.Variance()
}

// noise is by how much a side differs from itself, as a share, in 19 of 20 comparisons with so
// many rounds: successive rounds of the same side are the pairs. It takes a few to say that.
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
