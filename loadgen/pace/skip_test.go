package pace

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Skip passes over as many arrivals as Next would have yielded, of every schedule, and Next goes
// on where it would have.
func TestSkipIsManyNext(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := func(name string) Rate { return Rate(rapid.IntRange(1, 50_000).Draw(t, name)) * PerSecond }
		second := time.Duration(rapid.IntRange(1, 500).Draw(t, "second step")) * time.Millisecond
		plan := Plan{
			Process: rapid.SampledFrom([]Process{Constant, Poisson, Bursts}).Draw(t, "process"),
			Profile: Profile{{From: rate("from"), To: rate("to"), For: 300 * time.Millisecond}, {From: rate("next"), To: rate("last"), For: second}, Steady(rate("rest"))[0]},
			Burst:   rapid.IntRange(1, 100).Draw(t, "burst"),
			Every:   time.Duration(rapid.IntRange(0, 100).Draw(t, "every")) * time.Millisecond,
			Seed:    7,
			Places:  rapid.IntRange(1, 3).Draw(t, "loops"),
		}
		skipped, walked := NewArrivals(plan), NewArrivals(plan)
		for range 3 {
			before := rapid.Int64Range(0, int64(time.Second)).Draw(t, "before")
			n := uint64(0)
			for ; walked.Due < before; walked.Advance() {
				n++
			}
			if got := skipped.Skip(before); got != n || skipped.Due != walked.Due {
				t.Fatalf("skipped %d up to %d, want %d up to %d", got, skipped.Due, n, walked.Due)
			}
		}
	})
}

// Of a Poisson process too many arrivals to draw each are as many as chance allows, and the
// rest of the schedule begins where the skipped part ends.
func TestSkipOfManyPoissonArrivals(t *testing.T) {
	a := NewArrivals(Plan{Process: Poisson, Profile: Profile{{From: MaxRate, To: MaxRate, For: time.Second}, Steady(MaxRate / 2)[0]}, Seed: 3, Place: 1, Places: 2})
	const before, mean = int64(3 * time.Second), 1e9
	n := a.Skip(before)
	if math.Abs(float64(n)-mean) > 6*math.Sqrt(mean) {
		t.Errorf("%d arrivals, want about %.0f", n, mean)
	}
	if wait := a.Due - before; wait < 0 || wait > 1000 { // the mean distance is 4 ns
		t.Errorf("the next is due %d ns after those skipped", wait)
	}
}
