package pace

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Rate is a number of connections per second, in thousandths: 2500 is 2.5/s. An
// integer, so that a schedule is exact at whole seconds for ever.
type Rate int64

const PerSecond = 1000

// MaxRate bounds what ParseRate accepts: a billion connections per second.
const MaxRate = Rate(1e9 * PerSecond)

// PerSecond returns the rate as a float.
func (r Rate) PerSecond() float64 { return float64(r) / PerSecond }

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
	if f*unit < 1.0/PerSecond || f*unit > MaxRate.PerSecond() {
		return 0, fmt.Errorf("rate %q is out of range: want 0.001 to 1000M connections per second", text)
	}
	return Rate(math.Round(f * unit * PerSecond)), nil
}

// Schedule yields the times at which connections are due, since the start of the run.
// It is arithmetic: it never sleeps and never looks at a clock. ok is false when no
// more are due.
type Schedule interface {
	Next() (due time.Duration, ok bool)
	// Skip passes over connections that are due before a time and returns their number, in a
	// time that does not depend on it. It may leave a few for Next.
	Skip(before time.Duration) uint64
}

// constant is one loop's share of arrivals that follow a profile at equal distances: loop
// i of n has the arrivals i, i+n, i+2n, … counted through all segments.
type constant struct {
	profile     Profile
	start       time.Duration // of the present segment
	index, step uint64        // within it
}

func newConstant(p Profile, loop, loops int) *constant {
	return &constant{profile: p, index: uint64(loop), step: uint64(loops)}
}

func (c *constant) Next() (time.Duration, bool) {
	for len(c.profile) > 0 {
		s := c.profile[0]
		if due, ok := s.due(c.index); ok && due <= math.MaxInt64-c.start {
			c.index += c.step
			return c.start + due, true
		}
		if s.For == 0 {
			break
		}
		c.index -= s.count()
		c.start += s.For
		c.profile = c.profile[1:]
	}
	return 0, false
}

func (c *constant) Skip(before time.Duration) (n uint64) {
	for len(c.profile) > 0 {
		s, part := c.profile[0], before-c.start
		if first := s.before(part); c.index < first {
			passed := (first - c.index + c.step - 1) / c.step
			n, c.index = n+passed, c.index+passed*c.step
		}
		if s.For == 0 || part < s.For {
			break
		}
		c.index -= s.count()
		c.start += s.For
		c.profile = c.profile[1:]
	}
	return n
}

// poisson is one loop's share of a Poisson process whose rate follows a profile: the
// number of arrivals up to a time is that of a process of rate 1 up to the profile's
// mass, and a split of it over n loops is n processes of 1/n of the rate.
type poisson struct {
	profile Profile
	start   time.Duration // of the present segment
	mass    float64       // of the arrivals, within it
	loops   float64
	random  *rand.Rand
}

func newPoisson(p Profile, loop, loops int, seed uint64) *poisson {
	return &poisson{profile: p, loops: float64(loops), random: rand.New(Generator(seed, loop, arrivalStream))}
}

func (p *poisson) Next() (time.Duration, bool) {
	p.mass += p.random.ExpFloat64() * p.loops
	for len(p.profile) > 0 {
		s := p.profile[0]
		if s.For == 0 || p.mass < s.mass(s.For) {
			at := s.when(p.mass)
			if at >= math.MaxInt64-float64(p.start) {
				return 0, false
			}
			return p.start + time.Duration(at), true
		}
		p.mass -= s.mass(s.For)
		p.start += s.For
		p.profile = p.profile[1:]
	}
	return 0, false
}

// manyArrivals is the number from which Skip does not draw each arrival of a Poisson process.
// The normal distribution is then as good as Poisson's for their number.
const manyArrivals = 1 << 16

// Skip draws the number of arrivals in place of their times. The process has no memory, so it
// goes on from there as from any other time.
func (p *poisson) Skip(before time.Duration) (n uint64) {
	for len(p.profile) > 0 {
		s, part := p.profile[0], before-p.start
		over := s.For > 0 && part >= s.For
		if over {
			part = s.For
		}
		mean := (s.mass(part) - p.mass) / p.loops
		if mean < manyArrivals {
			break
		}
		n += uint64(mean + math.Sqrt(mean)*p.random.NormFloat64())
		p.mass = s.mass(part)
		if !over {
			break
		}
		p.mass = 0
		p.start += s.For
		p.profile = p.profile[1:]
	}
	return n
}

// bursts is one loop's share of size connections at one instant, again every every.
type bursts struct {
	share, left int
	at, every   time.Duration
}

func newBursts(size int, every, first time.Duration, loop, loops int) *bursts {
	own := int(Share(uint64(size), loop, loops))
	return &bursts{share: own, left: own, at: first, every: every}
}

func (b *bursts) Next() (time.Duration, bool) {
	if b.left == 0 {
		if b.every == 0 || b.share == 0 || b.at > math.MaxInt64-b.every {
			return 0, false
		}
		b.at += b.every
		b.left = b.share
	}
	b.left--
	return b.at, true
}

func (b *bursts) Skip(before time.Duration) uint64 {
	if b.at >= before {
		return 0
	}
	n := uint64(b.left)
	b.left = 0
	if b.every > 0 && b.share > 0 {
		passed := (before - 1 - b.at) / b.every
		n += uint64(passed) * uint64(b.share)
		b.at += passed * b.every
	}
	return n
}

// Share is part i of n parts of total that differ by one at most.
func Share(total uint64, i, n int) uint64 {
	part := total / uint64(n)
	if uint64(i) < total%uint64(n) {
		part++
	}
	return part
}
