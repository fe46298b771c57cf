package random

import (
	"math"
	"math/bits"
	"testing"
)

// The generators of neighbouring uses and of neighbouring seeds differ in half of their bits, as
// independent ones do.
func TestNeighboursAreIndependent(t *testing.T) {
	const draws = 2000
	for use := range uint64(8) {
		for name, other := range map[string][2]uint64{"the next use": {7, use + 1}, "the next seed": {8, use}} {
			one, two := New(7, use), New(other[0], other[1])
			differ := 0
			for range draws {
				differ += bits.OnesCount64(one.Uint64() ^ two.Uint64())
			}
			if off := math.Abs(float64(differ) - draws*32); off > 6*math.Sqrt(draws*16) { // six standard deviations
				t.Errorf("use %d and %s: %d of %d bits differ", use, name, differ, draws*64)
			}
		}
	}
}
