package compare

import (
	"math"
	"math/rand/v2"
	"testing"
)

// pairs are rounds with a ratio and noise, on a machine that drifts.
func pairs(random *rand.Rand, ratio float64, rounds int) (base, values []float64) {
	for i := range rounds {
		drift := 30_000 * (1 + 0.3*math.Sin(float64(i)))
		base = append(base, drift*math.Exp(0.02*random.NormFloat64()))
		values = append(values, ratio*drift*math.Exp(0.02*random.NormFloat64()))
	}
	return base, values
}

func TestBars(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, tt := range []struct {
		ratio  float64
		rounds int
		want   Position
	}{
		{0.95, 12, Above}, {0.85, 12, Below}, {0.90, 12, Undecided},
		{0.95, 2, Undecided}, {0.10, 2, Undecided}, // too few to tell
	} {
		base, values := pairs(random, tt.ratio, tt.rounds)
		b := NewBar(base, values, 0.90, 5)
		if b.Position != tt.want || b.Ratio < b.Low || b.Ratio > b.High || math.Abs(b.Ratio-tt.ratio) > 0.05 {
			t.Errorf("%v of %d rounds: %+v, want %s", tt.ratio, tt.rounds, b, tt.want)
		}
	}
}

// The estimate of a ratio exactly at its bar is above or below by chance. If the bar is judged after
// every four rounds until it is decided, less than one case in twenty is decided wrongly.
func TestABarDoesNotFlipByChance(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	const cases, least, most, step = 1000, 8, 24, 4
	const looks = (most-least)/step + 1
	flipped, decided := 0, 0
	for range cases {
		base, values := pairs(random, 0.90, most)
		if middle(newTest(base[:least], values[:least]).averages) < math.Log(0.90) {
			flipped++
		}
		for n := least; n <= most; n += step {
			if NewBar(base[:n], values[:n], 0.90, looks).Position != Undecided {
				decided++
				break
			}
		}
	}
	if flipped < cases/3 || flipped > 2*cases/3 {
		t.Errorf("the middle misses the bar in %d of %d cases: this tests nothing", flipped, cases)
	}
	if decided > cases/20 {
		t.Errorf("decided in %d of %d cases by chance", decided, cases)
	}
}
