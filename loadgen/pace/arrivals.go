package pace

import "time"

const (
	// lateAfter is how far behind its schedule an open loop may be before it counts as
	// stalled and catches up with care.
	LateAfter = int64(5 * time.Millisecond)
	// missAfter is how late an arrival can start at all.
	MissAfter = int64(time.Second)
)

// Arrivals says when a loop's next connection is due. A closed process has no schedule:
// a connection is due when a slot is free.
//
// An open process that was held up, by the machine or by a full slab, does not make up
// for it in a burst, which would measure a server that nobody asked about: late
// arrivals start at no more than twice the intended rate, each timed from when it was
// due, and those over missAfter late are counted as missed. A rate may be far beyond what
// can be started, so what is missed is counted by arithmetic.
type Arrivals struct {
	schedule Schedule // nil for a closed process
	Due      int64    // of the next arrival; never if there is none
	Started  int64    // when the last one started
	Profile  Profile  // of the schedule
	places   float64  // loops that share it
	Missed   uint64
}

// Plan is what the arrivals of one loop follow from.
type Plan struct {
	Process Process
	Profile Profile       // of an open process
	Burst   int           // connections at one instant
	Every   time.Duration // between two bursts
	Warmup  time.Duration // has the rate with which the profile begins
	Seed    uint64
	// Place is the place of the loop among Places loops, which share the arrivals.
	Place, Places int
}

func NewArrivals(p Plan) Arrivals {
	a := Arrivals{Started: -Never}
	profile := p.Profile
	if p.Warmup > 0 && len(profile) > 0 {
		profile = append(Profile{{From: profile[0].From, To: profile[0].From, For: p.Warmup}}, profile...)
	}
	switch p.Process {
	case Closed, Hold:
		return a
	case Constant:
		a.schedule = newConstant(profile, p.Place, p.Places)
	case Poisson:
		a.schedule = newPoisson(profile, p.Place, p.Places, p.Seed)
	case Bursts:
		a.schedule = newBursts(p.Burst, p.Every, p.Warmup, p.Place, p.Places)
	}
	a.Profile, a.places = profile, float64(p.Places)
	a.Advance()
	return a
}

// CatchUp is the time before which a late arrival does not start: half the mean gap, at
// the rate of its due time, behind the one before. The connections of a burst have no gap.
func (a *Arrivals) CatchUp() int64 {
	if a.Profile == nil {
		return -Never
	}
	return a.Started + int64(a.places*1e9/a.Profile.at(time.Duration(a.Due)).PerSecond()/2)
}

func (a *Arrivals) Advance() {
	due, ok := a.schedule.Next()
	a.Due = int64(due)
	if !ok {
		a.Due = Never
	}
}

// Skip passes over the arrivals that are due before a time, and returns their number.
func (a *Arrivals) Skip(before int64) (n uint64) {
	for a.Due < before {
		n += 1 + a.schedule.Skip(time.Duration(before))
		a.Advance()
	}
	return n
}
