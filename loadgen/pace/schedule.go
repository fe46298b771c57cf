package pace

import (
	"math"
	"math/rand/v2"
	"time"
)

// schedule yields the times at which the connections of one loop are due, since the start of the run.
type schedule interface {
	// Next returns the next time; ok is false if there is none.
	Next() (due time.Duration, ok bool)
	// Skip passes over connections that are due before a time and returns their number, in a
	// time that does not depend on it. It may leave a few for Next.
	Skip(before time.Duration) uint64
}

// course is what is left of a profile.
type course struct {
	profile Profile
	start   time.Duration // of the present segment
}

// leave goes on to the next segment.
func (c *course) leave() {
	c.start += c.profile[0].For
	c.profile = c.profile[1:]
}

// constant is one loop's share of arrivals that follow a profile at equal intervals: loop i of n
// has the arrivals i, i+n, i+2n, … counted through all segments.
type constant struct {
	course
	index, step uint64 // within the segment
}

func newConstant(p Profile, loop, loops int) *constant {
	return &constant{course: course{profile: p}, index: uint64(loop), step: uint64(loops)}
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
		c.index -= s.before(s.For)
		c.leave()
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
		c.index -= s.before(s.For)
		c.leave()
	}
	return n
}

// poisson is one loop's share of a Poisson process whose rate follows a profile: the number of
// arrivals up to a time is that of a process of rate 1 up to the profile's mass, and each of n
// loops has 1/n of the rate.
type poisson struct {
	course
	mass   float64 // of the arrivals, within the segment
	loops  float64
	random *rand.Rand
}

func newPoisson(p Profile, loop, loops int, seed uint64) *poisson {
	return &poisson{course: course{profile: p}, loops: float64(loops), random: rand.New(Generator(seed, loop, arrivalStream))}
}

func (p *poisson) Next() (time.Duration, bool) {
	p.mass += p.random.ExpFloat64() * p.loops
	for len(p.profile) > 0 {
		s := p.profile[0]
		if s.For == 0 || p.mass < s.mass(s.For) {
			at := s.when(p.mass)
			return p.start + time.Duration(at), at < math.MaxInt64-float64(p.start)
		}
		p.mass -= s.mass(s.For)
		p.leave()
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
		if p.mass = s.mass(part); !over {
			break
		}
		p.mass = 0
		p.leave()
	}
	return n
}

// bursts is one loop's share of connections at one instant, and again after a time.
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
