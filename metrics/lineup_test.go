package metrics

import (
	"testing"

	"pgregory.net/rapid"
)

// Intervals come out in order and complete, however the sources' parts arrive.
func TestLineupHandsOutInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sources := rapid.IntRange(1, 4).Draw(t, "sources")
		queues := make([][]int, sources)
		want := map[int]int{}
		for s := range queues {
			for n := range rapid.IntRange(0, 6).Draw(t, "intervals") {
				if rapid.Bool().Draw(t, "there") {
					queues[s] = append(queues[s], n)
					want[n]++
				}
			}
		}
		l := NewLineup[int](sources)
		last, left := -1, sources
		ended := make([]bool, sources)
		for left > 0 {
			s := rapid.IntRange(0, sources-1).Filter(func(s int) bool { return !ended[s] }).Draw(t, "source")
			if len(queues[s]) > 0 {
				l.Add(s, queues[s][0], queues[s][0])
				queues[s] = queues[s][1:]
			} else {
				l.End(s)
				ended[s] = true
				left--
			}
			for parts, ok := l.Take(); ok; parts, ok = l.Take() {
				n := parts[0]
				if n <= last {
					t.Fatalf("interval %d after %d", n, last)
				}
				if len(parts) != want[n] {
					t.Fatalf("interval %d with %d of %d parts", n, len(parts), want[n])
				}
				last = n
				delete(want, n)
			}
		}
		if len(want) > 0 || !l.Over() {
			t.Fatalf("never handed out: %v", want)
		}
	})
}
