package report

import (
	"math"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestDuration(t *testing.T) {
	for ns, want := range map[int64]string{
		0:                     "0 s",
		1:                     "1 ns",
		999:                   "999 ns",
		1_000:                 "1.00 µs",
		8_449:                 "8.45 µs",
		9_996:                 "10.0 µs",
		99_950:                "100 µs",
		999_499:               "999 µs",
		999_500:               "1.00 ms",
		1_230_000:             "1.23 ms",
		7_140_000_000:         "7.14 s",
		999_400_000_000:       "999 s",
		1_000_000_000_000:     "16.7 min",
		3_600_000_000_000:     "1.00 h",
		100 * 3600e9:          "4.17 d",
		math.MaxInt64:         "107000 d",
		-1_500:                "-1.50 µs",
		math.MinInt64:         "-107000 d",
		59_970_000_000 * 60:   "1.00 h",
		int64(99.96 * 3600e9): "4.17 d",
	} {
		if got := Duration(ns); got != want {
			t.Errorf("Duration(%d) = %q, want %q", ns, got, want)
		}
	}
	for _, ns := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if got := duration(ns); got != absent {
			t.Errorf("duration(%v) = %q, want %q", ns, got, absent)
		}
	}
}

// A printed number is within half a unit of the third digit, and fits into a column.
func TestDurationIsExactToThreeDigits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ns := rapid.Int64Range(1, math.MaxInt64).Draw(t, "ns")
		text := Duration(ns)
		if n := columns(text); n > 8 {
			t.Fatalf("Duration(%d) = %q, %d columns", ns, text, n)
		}
		number, unit, _ := strings.Cut(text, " ")
		v, err := strconv.ParseFloat(number, 64)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range durationUnits {
			if u.name == unit {
				v *= u.ns
			}
		}
		if diff := math.Abs(v - float64(ns)); diff > float64(ns)*0.00501 {
			t.Fatalf("Duration(%d) = %q, which is %g ns off", ns, text, diff)
		}
	})
}

func TestCount(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0", 7: "7", 999: "999", 1_000: "1,000", 251_384: "251,384", 1_000_000: "1,000,000",
		-1: "-1", -999: "-999", -1_000: "-1,000",
		math.MaxInt64: "9,223,372,036,854,775,807", math.MinInt64: "-9,223,372,036,854,775,808",
	} {
		if got := Count(n); got != want {
			t.Errorf("Count(%d) = %q, want %q", n, got, want)
		}
	}
	if got, want := Count(uint64(math.MaxUint64)), "18,446,744,073,709,551,615"; got != want {
		t.Errorf("Count = %q, want %q", got, want)
	}
}

func TestCompact(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0", 12: "12", 999: "999", 1_000: "1.00k", 3_927: "3.93k", 251_384: "251k",
		999_499: "999k", 999_500: "1.00M", 12_000_000: "12.0M", math.MaxInt64: "9.22E",
	} {
		if got := compact(n); got != want {
			t.Errorf("compact(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestRate(t *testing.T) {
	for perSecond, want := range map[float64]string{
		0: "0/s", 0.00123: "0.00123/s", 0.5: "0.50/s", 1.5: "1.50/s", 12.34: "12.3/s", 512: "512/s",
		999.7: "1,000/s", 25_131.7: "25,132/s", 1_000_003: "1,000,003/s", 1e16: "1e+16/s",
		math.Inf(1): absent,
	} {
		if got := Rate(perSecond); got != want {
			t.Errorf("Rate(%v) = %q, want %q", perSecond, got, want)
		}
	}
	if got := Rate(math.NaN()); got != absent {
		t.Errorf("Rate(NaN) = %q, want %q", got, absent)
	}
}

func TestPercent(t *testing.T) {
	for _, tt := range []struct {
		share    float64
		decimals int
		want     string
	}{
		{0, 2, "0.00 %"},
		{1e-9, 2, "<0.01 %"},
		{0.0002, 2, "0.02 %"},
		{0.9997, 2, "99.97 %"},
		{0.999999, 2, ">99.99 %"},
		{1, 2, "100.00 %"},
		{0.973, 0, "97 %"},
		{0.996, 0, ">99 %"},
		{0.004, 0, "<1 %"},
		{1e20, 2, "1e+22 %"},
		{math.NaN(), 2, absent},
		{math.Inf(1), 2, absent},
	} {
		if got := Percent(tt.share, tt.decimals); got != tt.want {
			t.Errorf("Percent(%v, %d) = %q, want %q", tt.share, tt.decimals, got, tt.want)
		}
	}
}
