package pace

import (
	"slices"
	"testing"
)

// The streams of one seed differ, and each is the same again for the same seed.
func TestStreamsAreSeparate(t *testing.T) {
	draw := func(seed uint64, place int, s stream) []uint64 {
		g := Generator(seed, place, s)
		return []uint64{g.Uint64(), g.Uint64(), g.Uint64()}
	}
	seen := [][]uint64{}
	for place := range 3 {
		for s := arrivalStream; s <= PhaseStream; s++ {
			numbers := draw(7, place, s)
			if !slices.Equal(numbers, draw(7, place, s)) {
				t.Errorf("place %d, stream %d is another the second time", place, s)
			}
			for _, other := range seen {
				if slices.ContainsFunc(numbers, func(n uint64) bool { return slices.Contains(other, n) }) {
					t.Errorf("place %d, stream %d: %x overlaps %x", place, s, numbers, other)
				}
			}
			seen = append(seen, numbers)
		}
	}
}
