package pace

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Rate is a number of connections per second, in thousandths: 2500 is 2.5/s. It is an integer so
// that a schedule is exact at whole seconds for ever.
type Rate int64

const (
	// PerSecond is the rate of one connection per second.
	PerSecond = 1000
	// MaxRate is the largest rate: a billion connections per second.
	MaxRate = Rate(1e9 * PerSecond)
)

// PerSecond returns the rate as a float.
func (r Rate) PerSecond() float64 { return float64(r) / PerSecond }

func (r Rate) String() string {
	return strconv.FormatFloat(r.PerSecond(), 'f', -1, 64)
}

// ParseRate reads connections per second: 500, 2.5, 10k, 1.5M, each with an optional /s.
func ParseRate(text string) (Rate, error) {
	number, unit := strings.TrimSuffix(text, "/s"), 1.0
	switch {
	case strings.HasSuffix(number, "k"):
		number, unit = strings.TrimSuffix(number, "k"), 1e3
	case strings.HasSuffix(number, "M"):
		number, unit = strings.TrimSuffix(number, "M"), 1e6
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(f) {
		return 0, fmt.Errorf("%q is no rate: want connections per second, as in 500, 2.5 or 10k", text)
	}
	if f*unit < 1.0/PerSecond || f*unit > MaxRate.PerSecond() {
		return 0, fmt.Errorf("rate %q is out of range: want 0.001 to 1000M connections per second", text)
	}
	return Rate(math.Round(f * unit * PerSecond)), nil
}

// Segment is a part of a rate profile: the rate goes evenly from From to To in the time For. Zero
// For is for ever, which only the last segment may be.
type Segment struct {
	From Rate          `json:"from"`
	To   Rate          `json:"to"`
	For  time.Duration `json:"for,omitempty"`
}

// Profile is a rate over time. Each segment begins with an arrival of its own: arrivals are exact
// within a segment, and no rounding is carried from one to the next.
type Profile []Segment

// Steady is the profile of one rate for ever.
func Steady(r Rate) Profile { return Profile{{From: r, To: r}} }

// ParseProfile reads a rate (10k), steps (1k,5k,20k@10s: each for 10 s, the last one for ever) or a
// ramp (1k..50k/30s: evenly in 30 s, then for ever at the rate it ends with).
func ParseProfile(text string) (Profile, error) {
	ramp := strings.Contains(text, "..")
	if !ramp && !strings.ContainsAny(text, ",@") {
		r, err := ParseRate(text)
		return Steady(r), err
	}
	want, between, before, most := "steps need a length, as in 1k,5k,20k@10s", ",", "@", -1
	if ramp {
		want, between, before, most = "a ramp needs a length, as in 1k..50k/30s", "..", "/", 2
	}
	rates, each, _ := strings.Cut(text, before)
	length, err := time.ParseDuration(each)
	if err != nil || length <= 0 {
		return nil, fmt.Errorf("%q: %s", text, want)
	}
	var p Profile
	for _, step := range strings.SplitN(rates, between, most) {
		r, err := ParseRate(step)
		if err != nil {
			return nil, err
		}
		p = append(p, Segment{From: r, To: r, For: length})
	}
	p[len(p)-1].For = 0
	if ramp {
		p[0].To = p[1].From
	}
	return p, nil
}

func (p Profile) String() string {
	switch {
	case len(p) == 0:
		return ""
	case len(p) == 1:
		return p[0].From.String()
	case p[0].From != p[0].To:
		return fmt.Sprintf("%v..%v/%v", p[0].From, p[0].To, p[0].For)
	default:
		steps := make([]string, len(p))
		for i, s := range p {
			steps[i] = s.From.String()
		}
		return fmt.Sprintf("%s@%v", strings.Join(steps, ","), p[0].For)
	}
}

// Validate returns an error that says what is wrong with the profile.
func (p Profile) Validate() error {
	if len(p) == 0 {
		return errors.New("an open loop needs a rate")
	}
	for i, s := range p {
		switch {
		case min(s.From, s.To) <= 0 || max(s.From, s.To) > MaxRate:
			return fmt.Errorf("a rate must be above 0 and up to %v connections per second", MaxRate)
		case s.For < 0, s.For == 0 && i < len(p)-1:
			return errors.New("a step of the rate has no length")
		case s.For == 0 && s.From != s.To:
			return errors.New("a ramp of the rate has no length")
		}
	}
	return nil
}

// Mean is the mean rate from the start until d has passed, in connections per second.
func (p Profile) Mean(d time.Duration) float64 {
	if d <= 0 || len(p) == 1 { // one segment without an end is steady
		return p[0].From.PerSecond()
	}
	arrivals, left := 0.0, d
	for _, s := range p {
		part := left
		if s.For > 0 {
			part = min(left, s.For)
		}
		arrivals += s.mass(part)
		if left -= part; left <= 0 {
			break
		}
	}
	return arrivals / d.Seconds()
}

// at is the rate at a time after the profile began.
func (p Profile) at(t time.Duration) Rate {
	for _, s := range p {
		if s.For == 0 || t < s.For {
			if s.From == s.To {
				return s.From
			}
			return s.From + Rate(float64(s.To-s.From)*(float64(t)/float64(s.For)))
		}
		t -= s.For
	}
	return p[len(p)-1].To
}

// mass is the number of arrivals in the first d of the segment, as a real number.
func (s Segment) mass(d time.Duration) float64 {
	t := d.Seconds()
	if s.From == s.To {
		return s.From.PerSecond() * t
	}
	slope := (s.To - s.From).PerSecond() / s.For.Seconds()
	return s.From.PerSecond()*t + slope*t*t/2
}

// when is the inverse of mass: the time at which x arrivals are due.
func (s Segment) when(x float64) float64 {
	a := s.From.PerSecond()
	if s.From == s.To {
		return x / a * 1e9
	}
	slope := (s.To - s.From).PerSecond() / s.For.Seconds()
	// The root in the form that loses no digits for small x, whatever the slope's sign.
	root := a*a + 2*slope*x
	if root < 0 {
		return math.MaxInt64 // a falling ramp does not get that far
	}
	return 2 * x / (a + math.Sqrt(root)) * 1e9
}

// due is the time at which arrival k of the segment is due; ok is false if it is not
// before the segment's end.
func (s Segment) due(k uint64) (time.Duration, bool) {
	var ns uint64
	if s.From == s.To {
		// k × 1e9 × PerSecond / rate needs 128 bits after a few hours at high rates.
		hi, lo := bits.Mul64(k, 1e9*PerSecond)
		if hi >= uint64(s.From) {
			return 0, false // beyond 2^64 ns
		}
		ns, _ = bits.Div64(hi, lo, uint64(s.From))
	} else if at := math.Ceil(s.when(float64(k))); at < math.MaxInt64 {
		ns = uint64(at)
	} else {
		return 0, false
	}
	if ns > math.MaxInt64 || s.For > 0 && ns >= uint64(s.For) {
		return 0, false
	}
	return time.Duration(ns), true
}

// before is the number of arrivals that are due within the segment and within its first d.
func (s Segment) before(d time.Duration) uint64 {
	if s.For > 0 {
		d = min(d, s.For)
	}
	return uint64(sort.Search(int(s.mass(max(d, 0)))+2, func(k int) bool {
		at, ok := s.due(uint64(k))
		return !ok || at >= d
	}))
}
