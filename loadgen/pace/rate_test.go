package pace

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

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
