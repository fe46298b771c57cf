// Package pace says when a connection is due, and between which addresses: rates over time,
// arrival processes, limits, heartbeats, four-tuples. It is arithmetic: it reads no clock and
// opens no socket. Times are nanoseconds since the start of the run.
package pace

import (
	"math"
	"time"
)

// Process is an arrival process: who connects when.
type Process string

const (
	// Closed keeps a number of connections in flight: one ends, the next begins.
	Closed Process = "closed"
	// Constant starts connections at equal intervals, whatever became of earlier ones.
	Constant Process = "constant"
	// Poisson starts connections at exponentially distributed intervals.
	Poisson Process = "poisson"
	// Bursts starts many connections at one instant, and again.
	Bursts Process = "burst"
	// Hold opens a population once and holds it.
	Hold Process = "hold"
)

const (
	// Never is a time that does not come.
	Never = math.MaxInt64
	// NoQuota does not bound the number of arrivals.
	NoQuota = math.MaxUint64
	// lateAfter is how late an open loop may be before it catches up with care.
	lateAfter = int64(5 * time.Millisecond)
	// missAfter is how late an arrival can start at all.
	missAfter = int64(time.Second)
)

// Plan is what the arrivals of one loop follow from.
type Plan struct {
	Process  Process
	Profile  Profile       // of an open loop
	Burst    int           // connections at one instant
	Every    time.Duration // between two bursts
	Warmup   time.Duration // has the rate with which the profile begins
	OpenRate Rate          // bounds the arrivals of all loops of a closed loop; zero does not
	Seed     uint64
	Quota    uint64 // of measured arrivals of this loop; NoQuota does not bound them
	// Place is the place of the loop among Places loops, which share the arrivals.
	Place, Places int
}

// Arrivals says when a loop's next connection is due. Closed and Hold have no schedule: a
// connection is due when a slot is free.
//
// If an open loop was held up, by the machine or by a lack of slots, it does not make up for it in
// a burst, which would measure a load that nobody asked for. Late arrivals start at no more than
// twice the intended rate, each timed from when it was due; those over missAfter late are counted as
// missed. A rate may be far beyond what can be started, so missed arrivals are counted by arithmetic.
type Arrivals struct {
	Due     int64  // time of the next arrival of the schedule; Never if there is none
	Missed  uint64 // measured arrivals that could not start
	Backoff Backoff

	schedule    schedule // nil for a closed loop
	profile     Profile  // of the schedule
	places      float64
	started     int64 // when the last one started
	limit       Limiter
	measureFrom int64
	quota       uint64
}

// NewArrivals returns the arrivals of a plan, from the start of the run.
func NewArrivals(p Plan) Arrivals {
	a := Arrivals{
		Due: Never, started: -Never, places: float64(p.Places), limit: NewLimiter(p.OpenRate, p.Places),
		measureFrom: int64(p.Warmup), quota: p.Quota,
	}
	profile := p.Profile
	if p.Warmup > 0 && len(profile) > 0 {
		profile = append(Profile{{From: profile[0].From, To: profile[0].From, For: p.Warmup}}, profile...)
	}
	switch p.Process {
	case Constant:
		a.profile, a.schedule = profile, newConstant(profile, p.Place, p.Places)
	case Poisson:
		a.profile, a.schedule = profile, newPoisson(profile, p.Place, p.Places, p.Seed)
	case Bursts:
		a.schedule = newBursts(p.Burst, p.Every, p.Warmup, p.Place, p.Places)
	default:
		return a
	}
	a.advance()
	return a
}

// Open tells whether this is an open loop: its arrivals follow a schedule.
func (a *Arrivals) Open() bool { return a.schedule != nil }

// Overdue tells whether an arrival of a rate is due. A burst has none between two turns.
func (a *Arrivals) Overdue(now int64) bool { return a.profile != nil && a.Due <= now }

// Done tells whether no arrival will come any more. Arrivals end at stop.
func (a *Arrivals) Done(now, stop int64) bool { return a.quota == 0 || now >= stop && a.Due >= stop }

// Next returns when the next connection can start and when it was due, or Never. Free is the time
// since when a slot is free, Never if none is. Arrivals that are too late to start are counted in
// Missed and passed over.
func (a *Arrivals) Next(now, stop, free int64) (start, due int64) {
	switch {
	case a.quota == 0:
		return Never, Never
	case a.schedule == nil:
		if now >= stop || free == Never {
			return Never, Never
		}
		return max(now, a.Backoff.Until, a.limit.next), max(free, a.limit.next)
	case a.profile != nil:
		if now > a.measureFrom+lateAfter {
			a.skip(a.measureFrom) // the measured time does not bear the arrears of the warm-up
		}
		if now-stop > a.overtime(stop) {
			a.miss(stop)
		}
	}
	for {
		switch late := now - a.Due; {
		case a.Due >= stop:
			return Never, Never
		case late < 0:
			return a.Due, a.Due
		case late <= missAfter && free != Never:
			if late > lateAfter {
				return max(now, a.catchUp()), a.Due
			}
			return now, a.Due
		}
		before := now + 1
		if free != Never {
			before -= missAfter + 1
		}
		a.miss(min(before, stop))
	}
}

// Take starts the arrival that Next returned, and tells whether it is part of the measured time:
// an open loop's by when it was due, a closed loop's by when it starts.
func (a *Arrivals) Take(now int64) (measured bool) {
	from := now
	if a.schedule == nil {
		a.limit.At(now)
	} else {
		from, a.started = a.Due, now
		a.advance()
	}
	if measured = from >= a.measureFrom; measured {
		a.quota--
	}
	return measured
}

// LeaveRest counts as missed the measured arrivals that were due, and late, when the run ended.
func (a *Arrivals) LeaveRest(now, stop int64) {
	before := a.Missed
	a.miss(min(stop, now))
	a.Missed = before + min(a.Missed-before, a.quota)
}

// miss gives up the arrivals that are due before a time. Those of the warm-up are not counted.
func (a *Arrivals) miss(before int64) {
	a.skip(min(before, a.measureFrom))
	a.Missed += a.skip(before)
}

// skip passes over the arrivals that are due before a time, and returns their number.
func (a *Arrivals) skip(before int64) (n uint64) {
	for a.Due < before {
		n += 1 + a.schedule.Skip(time.Duration(before))
		a.advance()
	}
	return n
}

func (a *Arrivals) advance() {
	due, ok := a.schedule.Next()
	a.Due = int64(due)
	if !ok {
		a.Due = Never
	}
}

// overtime is how long late arrivals may still start after the end of the measured time: a
// quarter of it, so that a client that cannot keep up ends near its time.
func (a *Arrivals) overtime(stop int64) int64 {
	return min(missAfter, max(lateAfter, (stop-a.measureFrom)/4))
}

// catchUp is the time before which a late arrival does not start: half the mean gap after the last
// one, at the rate of its due time. The connections of a burst have no gap.
func (a *Arrivals) catchUp() int64 {
	if a.profile == nil {
		return -Never
	}
	return a.started + int64(a.places*1e9/a.profile.at(time.Duration(a.Due)).PerSecond()/2)
}
