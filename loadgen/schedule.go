package loadgen

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Rate is a number of connections per second, in thousandths: 2500 is 2.5/s. An
// integer, so that a schedule is exact at whole seconds for ever.
type Rate int64

const rateUnit = 1000

// MaxRate bounds what ParseRate accepts: a billion connections per second.
const MaxRate = Rate(1e9 * rateUnit)

// PerSecond returns the rate as a float.
func (r Rate) PerSecond() float64 { return float64(r) / rateUnit }

func (r Rate) String() string {
	return strconv.FormatFloat(r.PerSecond(), 'f', -1, 64)
}

// ParseRate reads a rate in connections per second: 500, 2.5, 10k, 1.5M, each with an
// optional /s.
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
	if f*unit < 1.0/rateUnit || f*unit > MaxRate.PerSecond() {
		return 0, fmt.Errorf("rate %q is out of range: want 0.001 to 1000M connections per second", text)
	}
	return Rate(math.Round(f * unit * rateUnit)), nil
}

// Schedule yields the times at which connections are due, since the start of the run.
// It is arithmetic: it never sleeps and never looks at a clock. ok is false when no
// more are due.
type Schedule interface {
	Next() (due time.Duration, ok bool)
}

// constant is one loop's share of arrivals that are 1/rate apart: loop i of n has the
// arrivals i, i+n, i+2n, …
type constant struct {
	rate        Rate
	index, step uint64
}

func newConstant(rate Rate, loop, loops int) *constant {
	return &constant{rate: rate, index: uint64(loop), step: uint64(loops)}
}

func (c *constant) Next() (time.Duration, bool) {
	// index × 1e9 × rateUnit / rate needs 128 bits after a few hours at high rates.
	hi, lo := bits.Mul64(c.index, 1e9*rateUnit)
	if hi >= uint64(c.rate) {
		return 0, false // beyond 2^64 ns
	}
	due, _ := bits.Div64(hi, lo, uint64(c.rate))
	if due > math.MaxInt64 {
		return 0, false
	}
	c.index += c.step
	return time.Duration(due), true
}

// poisson is one loop's share of a Poisson process: gaps are exponential, and a split
// of a Poisson process over n loops is n Poisson processes of 1/n of the rate.
type poisson struct {
	mean   float64 // nanoseconds between two arrivals of this loop
	at     float64
	random *rand.Rand
}

func newPoisson(rate Rate, loop, loops int, seed uint64) *poisson {
	return &poisson{
		mean:   float64(loops) * 1e9 / rate.PerSecond(),
		random: rand.New(rand.NewPCG(seed, uint64(loop))),
	}
}

func (p *poisson) Next() (time.Duration, bool) {
	p.at += p.random.ExpFloat64() * p.mean
	if p.at >= math.MaxInt64 {
		return 0, false
	}
	return time.Duration(p.at), true
}
