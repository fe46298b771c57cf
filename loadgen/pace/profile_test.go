package pace

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// anyProfile draws steps, ramps up and ramps down, with a last segment that has an end.
func anyProfile(t *rapid.T) Profile {
	var p Profile
	rate := rapid.Map(rapid.IntRange(1, 5000), func(n int) Rate { return Rate(n) * PerSecond / 10 })
	for range rapid.IntRange(1, 4).Draw(t, "segments") {
		s := Segment{From: rate.Draw(t, "from"), For: time.Duration(rapid.IntRange(1, 2000).Draw(t, "ms")) * time.Millisecond}
		s.To = s.From
		if rapid.Bool().Draw(t, "ramp") {
			s.To = rate.Draw(t, "to")
		}
		p = append(p, s)
	}
	return p
}

// The loops together have the arrivals of each segment, each once, none before its share
// of the rate has come together, and none missing.
func TestLoopsShareTheArrivalsOfAProfile(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := anyProfile(t)
		loops := rapid.IntRange(1, 5).Draw(t, "loops")
		var got []time.Duration
		for i := range loops {
			own := next(newConstant(p, i, loops), math.MaxInt64, math.MaxInt)
			if !slices.IsSorted(own) {
				t.Fatalf("loop %d goes back in time", i)
			}
			got = append(got, own...)
		}
		slices.Sort(got)
		start := time.Duration(0)
		for n, s := range p {
			mass := s.mass(s.For)
			k := 0
			for ; len(got) > 0 && got[0] < start+s.For; got = got[1:] {
				at := got[0] - start
				// The k-th arrival is due when k have come together; 1 ns is rounding.
				if m := s.mass(at + 1); m < float64(k)*(1-1e-9)-1e-6 {
					t.Fatalf("segment %d: arrival %d is due at %v, when %v have come together", n, k, at, m)
				}
				if m := s.mass(at - 1); m > float64(k)*(1+1e-9)+1e-6 {
					t.Fatalf("segment %d: arrival %d is due as late as %v, when %v have come together", n, k, at, m)
				}
				k++
			}
			if want := math.Ceil(mass - 1e-6); math.Abs(float64(k)-want) > 0 && math.Abs(mass-math.Round(mass)) > 1e-6 {
				t.Fatalf("segment %d: %d arrivals of a mass of %v", n, k, mass)
			}
			start += s.For
		}
		if len(got) > 0 {
			t.Fatalf("%d arrivals after the end", len(got))
		}
	})
}

// A Poisson process has as many arrivals as the profile's mass, give or take five
// standard deviations, in every segment.
func TestPoissonFollowsAProfile(t *testing.T) {
	p := Profile{{From: 1000 * PerSecond, To: 9000 * PerSecond, For: 4 * time.Second}, {From: 500 * PerSecond, To: 500 * PerSecond, For: 10 * time.Second}}
	counts := make([]float64, len(p))
	for i := range 3 {
		for _, at := range next(newPoisson(p, i, 3, 42), math.MaxInt64, math.MaxInt) {
			if at < p[0].For {
				counts[0]++
			} else {
				counts[1]++
			}
		}
	}
	for i, s := range p {
		if mass := s.mass(s.For); math.Abs(counts[i]-mass) > 5*math.Sqrt(mass) {
			t.Errorf("segment %d: %v arrivals of a mass of %v", i, counts[i], mass)
		}
	}
}

func TestProfileReadsBackAsItIsWritten(t *testing.T) {
	for _, text := range []string{"500", "2.5", "1000..50000/30s", "1000,5000,20000@10s"} {
		p, err := ParseProfile(text)
		if err != nil || p.String() != text || p.Validate() != nil {
			t.Errorf("%q became %v, %v", text, p, err)
		}
	}
	if p, _ := ParseProfile("1k..3k/10s"); p.Mean(10*time.Second) != 2000 || p.Mean(20*time.Second) != 2500 || p.at(5*time.Second) != 2000*PerSecond {
		t.Errorf("%v has a mean of %v, %v and is %v in the middle", p, p.Mean(10*time.Second), p.Mean(20*time.Second), p.at(5*time.Second))
	}
}

func FuzzParseProfile(f *testing.F) {
	for _, text := range []string{"1k", "1k..50k/30s", "1k,5k@10s", "..", "@", "1,@1s"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParseProfile(text)
		if err != nil {
			return
		}
		if err := p.Validate(); err != nil {
			t.Fatalf("%q was read as %v: %v", text, p, err)
		}
		c := newConstant(p, 0, 1)
		last := time.Duration(-1)
		for range 100 {
			due, ok := c.Next()
			if !ok {
				break
			}
			if due < last {
				t.Fatalf("%q: %v after %v", text, due, last)
			}
			last = due
		}
	})
}

// Every burst is whole, at its instant, over any number of loops.
func TestLoopsShareBursts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size, loops := rapid.IntRange(1, 50).Draw(t, "size"), rapid.IntRange(1, 7).Draw(t, "loops")
		every, first := time.Duration(rapid.IntRange(1, 1000).Draw(t, "every")), time.Duration(rapid.IntRange(0, 1000).Draw(t, "first"))
		counts := map[time.Duration]int{}
		for i := range loops {
			for _, at := range next(newBursts(size, every, first, i, loops), first+4*every, math.MaxInt) {
				counts[at]++
			}
		}
		for k := range 4 {
			if n := counts[first+time.Duration(k)*every]; n != size {
				t.Fatalf("burst %d has %d of %d", k, n, size)
			}
		}
		if len(counts) != 4 {
			t.Fatalf("instants %v", counts)
		}
	})
}

func TestBurstOnce(t *testing.T) {
	if n := len(next(newBursts(5, 0, time.Second, 0, 1), math.MaxInt64, 100)); n != 5 {
		t.Errorf("%d arrivals", n)
	}
}

func TestParseRate(t *testing.T) {
	for _, c := range []struct {
		text string
		want Rate
	}{
		{"500", 500_000}, {"2.5", 2500}, {"10k", 10_000_000}, {"1.5M", 1_500_000_000},
		{"500/s", 500_000}, {"10k/s", 10_000_000}, {"1e3", 1_000_000}, {"0.1k", 100_000},
		{"0.001", 1}, {"0.0014", 1}, {"0.0015", 2}, {"1000M", MaxRate}, {"1e9", MaxRate},
		{"1000000000", MaxRate}, {"0.3", 300}, {"1.005", 1005},
	} {
		got, err := ParseRate(c.text)
		if err != nil || got != c.want {
			t.Errorf("%q: %d, %v, want %d", c.text, got, err, c.want)
		}
	}
	for _, c := range []struct{ text, want string }{
		{"", "is no rate"}, {"k", "is no rate"}, {"/s", "is no rate"}, {"ten", "is no rate"},
		{"5 k", "is no rate"}, {"5K", "is no rate"}, {"5/m", "is no rate"}, {"5/s/s", "is no rate"},
		{"NaN", "is no rate"}, {"1kk", "is no rate"}, {"1..2", "is no rate"},
		{"0", "out of range"}, {"-5", "out of range"}, {"0.0009", "out of range"},
		{"1001M", "out of range"}, {"Inf", "out of range"}, {"-Inf", "out of range"}, {"1e300k", "out of range"},
	} {
		if got, err := ParseRate(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %d, %v, want an error with %q", c.text, got, err, c.want)
		}
	}
}

// What a result prints as a rate can be typed in again.
func TestRatePrintsWhatItReads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := anyRate().Draw(t, "rate")
		if got, err := ParseRate(rate.String()); err != nil || got != rate {
			t.Fatalf("%d prints as %q, which reads as %d, %v", rate, rate, got, err)
		}
	})
}

func FuzzParseRate(f *testing.F) {
	for _, seed := range []string{"500", "2.5", "10k", "1.5M/s", "0.001", "1000M", "NaN", "0x1p-3", "1_0", "-1", "1e400"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rate, err := ParseRate(text)
		if err != nil {
			return
		}
		if rate < 1 || rate > MaxRate {
			t.Fatalf("%q reads as %d", text, rate)
		}
		if again, err := ParseRate(rate.String()); err != nil || again != rate {
			t.Fatalf("%q reads as %d, that as %d, %v", text, rate, again, err)
		}
	})
}
