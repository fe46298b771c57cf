package pace

import (
	"math"
	"slices"
	"testing"
	"time"
)

// The streams of one seed differ, and each is the same again for the same seed.
func TestStreamsAreSeparate(t *testing.T) {
	draw := func(seed uint64, place int, s Stream) []uint64 {
		g := Generator(seed, place, s)
		return []uint64{g.Uint64(), g.Uint64(), g.Uint64()}
	}
	seen := [][]uint64{}
	for place := range 3 {
		for s := arrivalStream; s <= beatStream; s++ {
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

func TestGaps(t *testing.T) {
	plain := NewGaps(time.Second, 0, 1, 0)
	jittered, again := NewGaps(time.Second, 0.5, 1, 0), NewGaps(time.Second, 0.5, 1, 0)
	least, most := int64(math.MaxInt64), int64(0)
	for range 1000 {
		g := jittered.Next()
		if g != again.Next() || plain.Next() != second {
			t.Fatal("the same seed gives other gaps, or gaps without jitter differ")
		}
		least, most = min(least, g), max(most, g)
	}
	if least < second/2 || least > second*51/100 || most > second*3/2 || most < second*149/100 {
		t.Errorf("gaps from %d to %d ns", least, most)
	}
}

// Random beats are spread over the interval: no hundredth has many more than its share, from
// the first interval of a run on. They follow from the seed, and differ between connections.
// Aligned beats are all due at once.
func TestBeats(t *testing.T) {
	const parts, connections = 100, 10_000
	random, again := NewBeats(time.Second, false, 7, 0), NewBeats(time.Second, false, 7, 0)
	other, aligned := NewBeats(time.Second, false, 8, 0), NewBeats(time.Second, true, 7, 0)
	for _, now := range []int64{0, 12345678901} {
		counts, same := make([]int, parts), 0
		for c := range uint64(connections) {
			at := random.Next(now, c)
			if at <= now || at > now+second || at != again.Next(now, c) || at == random.Next(now, c+1) {
				t.Fatalf("connection %d beats at %d, then at %d, the next one at %d", c, at, again.Next(now, c), random.Next(now, c+1))
			}
			if counts[(at-now-1)*parts/second]++; at == other.Next(now, c) {
				same++
			}
			if got, want := aligned.Next(now, c), (now/second+1)*second; got != want {
				t.Fatalf("an aligned beat is due at %d, want %d", got, want)
			}
		}
		const share = connections / parts // six standard deviations are 60
		if least, most := slices.Min(counts), slices.Max(counts); least < share-60 || most > share+60 || same > 1 {
			t.Errorf("%d to %d beats in a hundredth, want about %d; %d are those of another seed", least, most, share, same)
		}
	}
}
