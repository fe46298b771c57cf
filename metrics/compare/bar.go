package compare

import (
	"fmt"
	"math"
)

// Standing is where a ratio stands to a bar, as far as the rounds tell.
type Standing string

// The standings. Undecided is neither passed nor missed: more rounds would tell.
const (
	Above     Standing = "above"
	Below     Standing = "below"
	Undecided Standing = "undecided"
)

// Bar is a ratio within rounds beside the least that it should be.
type Bar struct {
	AtLeast float64
	Ratio   float64 // Hodges and Lehmann's estimate
	// Low and High bound it, as Confidence says, however often the same rounds and further ones are
	// looked at. They are 0 and infinity if there are too few rounds to tell.
	Low, High float64
	Rounds    int
	Standing  Standing
}

// NewBar divides the values of rounds by what they are held against, both positive. looks is how
// often the rounds may be judged before there are enough: whoever adds rounds until a bar is decided
// has as many chances to be wrong.
func NewBar(base, values []float64, atLeast float64, looks int) Bar {
	t := newTest(base, values)
	b := Bar{AtLeast: atLeast, Ratio: math.Exp(middle(t.averages)), High: math.Inf(1), Rounds: len(values), Standing: Undecided}
	if low, high, ok := t.interval((1 - Confidence) / float64(max(looks, 1))); ok && t.logs {
		b.Low, b.High = math.Exp(low), math.Exp(high)
	}
	switch {
	case b.Low >= atLeast:
		b.Standing = Above
	case b.High < atLeast:
		b.Standing = Below
	}
	return b
}

// String is the ratio with its interval, and where it stands: 0.962 (0.951 to 0.973) of 8 rounds: above.
func (b Bar) String() string {
	if math.IsInf(b.High, 1) {
		return fmt.Sprintf("%.3f of %d rounds, too few for an interval: %s", b.Ratio, b.Rounds, b.Standing)
	}
	return fmt.Sprintf("%.3f (%.3f to %.3f) of %d rounds: %s", b.Ratio, b.Low, b.High, b.Rounds, b.Standing)
}
