package pace

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strings"
	"time"
)

// Segment is a part of a rate profile: the rate goes from From to To, evenly, in the time
// For. Zero For is for ever, and only the last segment may last so long.
type Segment struct {
	From Rate          `json:"from"`
	To   Rate          `json:"to"`
	For  time.Duration `json:"for,omitempty"`
}

// Profile is a rate over time. Each segment begins with an arrival of its own: arrivals
// are exact within a segment, and no rounding is carried from one to the next.
type Profile []Segment

// Steady is the profile of one rate for ever.
func Steady(r Rate) Profile { return Profile{{From: r, To: r}} }

// ParseProfile reads a rate (10k), steps (1k,5k,20k@10s: each for 10 s, the last one for
// ever) or a ramp (1k..50k/30s: evenly in 30 s, then for ever what it ends with).
func ParseProfile(text string) (Profile, error) {
	if from, rest, ok := strings.Cut(text, ".."); ok {
		return parseRamp(text, from, rest)
	}
	if !strings.ContainsAny(text, ",@") {
		r, err := ParseRate(text)
		return Steady(r), err
	}
	list, each, ok := strings.Cut(text, "@")
	if !ok {
		return nil, fmt.Errorf("%q: steps need a length, as in 1k,5k,20k@10s", text)
	}
	length, err := time.ParseDuration(each)
	if err != nil || length <= 0 {
		return nil, fmt.Errorf("%q: the steps' length %q is no duration, as in 10s", text, each)
	}
	var p Profile
	for step := range strings.SplitSeq(list, ",") {
		r, err := ParseRate(step)
		if err != nil {
			return nil, err
		}
		p = append(p, Segment{From: r, To: r, For: length})
	}
	p[len(p)-1].For = 0
	return p, nil
}

func parseRamp(text, from, rest string) (Profile, error) {
	to, over, ok := strings.Cut(rest, "/")
	if !ok {
		return nil, fmt.Errorf("%q: a ramp needs a length, as in 1k..50k/30s", text)
	}
	length, err := time.ParseDuration(over)
	if err != nil || length <= 0 {
		return nil, fmt.Errorf("%q: the ramp's length %q is no duration, as in 30s", text, over)
	}
	a, err := ParseRate(from)
	if err != nil {
		return nil, err
	}
	b, err := ParseRate(to)
	if err != nil {
		return nil, err
	}
	return Profile{{From: a, To: b, For: length}, {From: b, To: b}}, nil
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

func (p Profile) Validate() error {
	if len(p) == 0 {
		return errors.New("an open loop needs a rate")
	}
	for i, s := range p {
		last := i == len(p)-1
		switch {
		case s.From <= 0 || s.To <= 0 || s.From > MaxRate || s.To > MaxRate:
			return fmt.Errorf("a rate must be above 0 and up to %v connections per second", MaxRate)
		case s.For < 0, s.For == 0 && !last:
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

// at is the rate at a time since the profile began.
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
		// k × 1e9 × rateUnit / rate needs 128 bits after a few hours at high rates.
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

// count is the number of arrivals that are due within the segment.
func (s Segment) count() uint64 { return s.before(s.For) }

// before is the number of arrivals that are due within the segment and within its first d.
func (s Segment) before(d time.Duration) uint64 {
	if s.For > 0 {
		d = min(d, s.For)
	}
	low, high := uint64(0), uint64(s.mass(max(d, 0)))+2
	for low < high { // the first arrival that is not
		middle := low + (high-low)/2
		if at, ok := s.due(middle); ok && at < d {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}
