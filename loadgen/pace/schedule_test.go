package pace

import (
	"math"
	"math/big"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// anyRate draws rates of all sizes, the ends of the range among them.
func anyRate() *rapid.Generator[Rate] {
	return rapid.OneOf(
		rapid.SampledFrom([]Rate{1, 2, 999, PerSecond, 3 * PerSecond, 1_000_003 * PerSecond, MaxRate - 1, MaxRate}),
		rapid.Map(rapid.IntRange(0, 39), func(bits int) Rate { return Rate(1) << bits }),
		rapid.Map(rapid.Int64Range(1, int64(MaxRate)), func(r int64) Rate { return Rate(r) }),
	)
}

// exactDue is floor(k/rate) in nanoseconds, by arithmetic that cannot overflow.
func exactDue(k uint64, r Rate) (ns int64, ok bool) {
	n := new(big.Int).SetUint64(k)
	n.Mul(n, big.NewInt(int64(1e9)*PerSecond)).Div(n, big.NewInt(int64(r)))
	return n.Int64(), n.IsInt64()
}

// next returns the arrivals of one loop that are due before end, n at most.
func next(s schedule, end time.Duration, n int) (due []time.Duration) {
	for range n {
		at, ok := s.Next()
		if !ok || at >= end {
			break
		}
		due = append(due, at)
	}
	return due
}

// The loops together have each arrival once, at floor(k/rate), whatever their number.
func TestConstantLoopsShareOneSchedule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := anyRate().Draw(t, "rate")
		loops := rapid.IntRange(1, 9).Draw(t, "loops")
		total := rapid.IntRange(0, 400).Draw(t, "arrivals")
		var merged []time.Duration
		for i := range loops {
			own := next(newConstant(Steady(rate), i, loops), math.MaxInt64, int(Share(uint64(total), i, loops)))
			if !slices.IsSorted(own) {
				t.Fatalf("loop %d of %d goes back in time: %v", i, loops, own)
			}
			merged = append(merged, own...)
		}
		slices.Sort(merged)
		k := uint64(0)
		for ; k < uint64(len(merged)); k++ {
			want, ok := exactDue(k, rate)
			if !ok || int64(merged[k]) != want {
				t.Fatalf("arrival %d at %v/s is due at %d, want %d (%v)", k, rate, merged[k], want, ok)
			}
		}
		if _, ok := exactDue(k, rate); ok && k < uint64(total) {
			t.Fatalf("%d arrivals at %v/s, want %d", k, rate, total)
		}
	})
}

// Far into a run, the arrivals are where they were planned: no drift.
func TestConstantIsExactForEver(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := anyRate().Draw(t, "rate")
		step := rapid.IntRange(1, 64).Draw(t, "loops")
		c := newConstant(Steady(rate), 0, step)
		c.index = rapid.Uint64().Draw(t, "index")
		k := c.index
		got, ok := c.Next()
		want, fits := exactDue(k, rate)
		if ok != fits || ok && int64(got) != want {
			t.Fatalf("arrival %d at %v/s: %d, %v, want %d, %v", k, rate, got, ok, want, fits)
		}
		if ok && c.index != k+uint64(step) {
			t.Fatalf("from arrival %d to %d, want a step of %d", k, c.index, step)
		}
		if !ok {
			if _, again := c.Next(); again {
				t.Fatal("an arrival after the last")
			}
		}
	})
}

// The k-th arrival of a whole rate at second s has the index s × rate, and no other does.
func TestConstantIsExactAtWholeSeconds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		perSecond := rapid.Uint64Range(1, 1e9).Draw(t, "rate")
		second := rapid.Uint64Range(1, 3e5).Draw(t, "second")
		c := newConstant(Steady(Rate(perSecond*PerSecond)), 0, 1)
		c.index = perSecond*second - 1
		before, _ := c.Next()
		at, _ := c.Next()
		if want := time.Duration(second) * time.Second; at != want || before >= want {
			t.Fatalf("at %d/s arrivals are due at %d and %d, around %d", perSecond, before, at, want)
		}
	})
}

// Whether an arrival is before an instant can be told from its index alone.
func TestConstantOffersTheRate(t *testing.T) {
	for _, c := range []struct {
		rate   string
		second time.Duration
		want   int
	}{
		{"0.001", 999 * time.Second, 1},
		{"0.001", 1001 * time.Second, 2},
		{"2.5", 10 * time.Second, 25},
		{"3", time.Second, 3},
		{"10k", 3 * time.Second, 30000},
		{"1000003", time.Second, 1000003}, // what vegeta rounds to 1,001,001
	} {
		rate, err := ParseRate(c.rate)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for i := range 3 {
			n += len(next(newConstant(Steady(rate), i, 3), c.second, math.MaxInt))
		}
		if n != c.want {
			t.Errorf("%s/s for %v: %d arrivals, want %d", c.rate, c.second, n, c.want)
		}
	}
}

func TestPoissonIsMonotoneAndRepeatable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := anyRate().Draw(t, "rate")
		loops := rapid.IntRange(1, 8).Draw(t, "loops")
		loop := rapid.IntRange(0, loops-1).Draw(t, "loop")
		seed := rapid.Uint64().Draw(t, "seed")
		const n = 200
		first := next(newPoisson(Steady(rate), loop, loops, seed), math.MaxInt64, n)
		if !slices.IsSorted(first) || len(first) > 0 && first[0] < 0 {
			t.Fatalf("goes back in time: %v", first)
		}
		if again := next(newPoisson(Steady(rate), loop, loops, seed), math.MaxInt64, n); !slices.Equal(first, again) {
			t.Fatal("the same seed gives another schedule")
		}
		if len(first) < n {
			return // at 0.001/s the end of time comes within so many arrivals
		}
		if other := next(newPoisson(Steady(rate), loop, loops, seed+1), math.MaxInt64, n); slices.Equal(first, other) && rate < MaxRate/1000 {
			t.Fatal("another seed gives the same schedule")
		}
	})
}

// Merged over any number of loops the arrivals are a Poisson process of the whole
// rate: as many in each interval as the rate says, with a variance equal to the mean.
// Seeds are fixed, so this test always sees the same numbers.
func TestPoissonMergesToTheWholeRate(t *testing.T) {
	const perSecond, seconds = 20_000, 10
	for _, loops := range []int{1, 2, 3, 8, 64} {
		for seed := range uint64(3) {
			const bins = 1000 * seconds // of a millisecond: 20 arrivals each
			var counts [bins]float64
			total := 0.0
			for i := range loops {
				for _, at := range next(newPoisson(Steady(perSecond*PerSecond), i, loops, seed), seconds*time.Second, math.MaxInt) {
					counts[at/time.Millisecond]++
					total++
				}
			}
			// Four standard deviations of the number of arrivals, and of the index of
			// dispersion, whose variance is 2/(bins-1).
			const want = perSecond * seconds
			if math.Abs(total-want) > 4*math.Sqrt(want) {
				t.Errorf("%d loops, seed %d: %v arrivals, want %v ± %.0f", loops, seed, total, want, 4*math.Sqrt(want))
			}
			mean, squares := total/bins, 0.0
			for _, n := range counts {
				squares += (n - mean) * (n - mean)
			}
			if d := squares / (bins - 1) / mean; math.Abs(d-1) > 4*math.Sqrt(2.0/bins) {
				t.Errorf("%d loops, seed %d: variance over mean is %.3f, want 1 ± %.3f", loops, seed, d, 4*math.Sqrt(2.0/bins))
			}
		}
	}
}

// The gaps are exponential: a share of 1 - 1/e of them is below the mean.
func TestPoissonGapsAreExponential(t *testing.T) {
	const n = 200_000
	due := next(newPoisson(Steady(1000*PerSecond), 1, 4, 7), math.MaxInt64, n)
	mean := 4 * time.Millisecond
	var below float64
	for i := 1; i < n; i++ {
		if due[i]-due[i-1] < mean {
			below++
		}
	}
	if share, want := below/(n-1), 1-1/math.E; math.Abs(share-want) > .005 {
		t.Errorf("%.4f of the gaps are below the mean, want %.4f", share, want)
	}
	if got := due[n-1] / n; math.Abs(float64(got-mean)) > 4*float64(mean)/math.Sqrt(n) {
		t.Errorf("mean gap %v, want %v", got, mean)
	}
}

func TestShareIsFairAndWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		total := rapid.Uint64().Draw(t, "total")
		n := rapid.IntRange(1, 300).Draw(t, "n")
		sum := uint64(0)
		first, last := Share(total, 0, n), Share(total, n-1, n)
		for i := range n {
			part := Share(total, i, n)
			sum += part
			if part > first || part < last {
				t.Fatalf("part %d of %d is %d, the first %d, the last %d", i, total, part, first, last)
			}
		}
		if sum != total || first-last > 1 {
			t.Fatalf("%d parts from %d to %d come to %d, want %d", n, first, last, sum, total)
		}
	})
}

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
			for ; walked.Due < before; walked.advance() {
				n++
			}
			if got := skipped.skip(before); got != n || skipped.Due != walked.Due {
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
	n := a.skip(before)
	if math.Abs(float64(n)-mean) > 6*math.Sqrt(mean) {
		t.Errorf("%d arrivals, want about %.0f", n, mean)
	}
	if wait := a.Due - before; wait < 0 || wait > 1000 { // the mean distance is 4 ns
		t.Errorf("the next is due %d ns after those skipped", wait)
	}
}
