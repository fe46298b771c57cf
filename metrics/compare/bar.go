package compare

import (
	"fmt"
	"math"
)

// Position is where a ratio lies relative to a bar, as far as the rounds tell.
type Position string

// The positions. Undecided needs more rounds.
const (
	Above     Position = "above"
	Below     Position = "below"
	Undecided Position = "undecided"
)

// Bar is a ratio within rounds, and the least that it should be.
type Bar struct {
	AtLeast float64
	Ratio   float64 // Hodges and Lehmann's estimate
	// Low and High bound it with Confidence. They are 0 and infinity if there are too few rounds.
	Low, High float64
	Rounds    int
	Position  Position
}

// NewBar divides the values of rounds by those of base, all positive. looks is how often the rounds may
// be judged: whoever adds rounds until a bar is decided has as many chances to be wrong.
func NewBar(base, values []float64, atLeast float64, looks int) Bar {
	t := newTest(base, values)
	b := Bar{AtLeast: atLeast, Ratio: math.Exp(middle(t.averages)), High: math.Inf(1), Rounds: len(values), Position: Undecided}
	if low, high, ok := t.interval((1 - Confidence) / float64(max(looks, 1))); ok && t.logs {
		b.Low, b.High = math.Exp(low), math.Exp(high)
	}
	switch {
	case b.Low >= atLeast:
		b.Position = Above
	case b.High < atLeast:
		b.Position = Below
	}
	return b
}

// String is 0.962 (0.951 to 0.973) of 8 rounds: above.
func (b Bar) String() string {
	if math.IsInf(b.High, 1) {
		return fmt.Sprintf("%.3f of %d rounds, too few for an interval: %s", b.Ratio, b.Rounds, b.Position)
	}
	return fmt.Sprintf("%.3f (%.3f to %.3f) of %d rounds: %s", b.Ratio, b.Low, b.High, b.Rounds, b.Position)
}
