package loadgen

import "time"

const (
	// lateAfter is how far behind its schedule an open loop may be before it counts as
	// stalled and catches up with care.
	lateAfter = int64(5 * time.Millisecond)
	// missAfter is how late an arrival can start at all.
	missAfter = int64(time.Second)
)

// arrivals says when a loop's next connection is due. A closed process has no schedule:
// a connection is due when a slot is free.
//
// An open process that was held up, by the machine or by a full slab, does not make up
// for it in a burst, which would measure a server that nobody asked about: late
// arrivals start at no more than twice the intended rate, each timed from when it was
// due, and those over missAfter late are counted as missed. A rate may be far beyond what
// can be started, so what is missed is counted by arithmetic.
type arrivals struct {
	schedule Schedule // nil for a closed process
	due      int64    // of the next arrival; never if there is none
	started  int64    // when the last one started
	profile  Profile  // of the schedule
	places   float64  // loops that share it
	missed   uint64
}

func newArrivals(c *Config, loop int) arrivals {
	a := arrivals{started: -never}
	// A warm-up has the rate with which the profile begins.
	profile := c.Profile
	if c.Warmup > 0 && len(profile) > 0 {
		profile = append(Profile{{From: profile[0].From, To: profile[0].From, For: c.Warmup}}, profile...)
	}
	switch c.Process {
	case Closed, Hold:
		return a
	case Constant:
		a.schedule = newConstant(profile, c.place(loop), c.places())
	case Poisson:
		a.schedule = newPoisson(profile, c.place(loop), c.places(), c.Seed)
	case Bursts:
		a.schedule = newBursts(c.Burst, c.Every, c.Warmup, c.place(loop), c.places())
	}
	a.profile, a.places = profile, float64(c.places())
	a.advance()
	return a
}

// catchUp is the time before which a late arrival does not start: half the mean gap, at
// the rate of its due time, behind the one before. The connections of a burst have no gap.
func (a *arrivals) catchUp() int64 {
	if a.profile == nil {
		return -never
	}
	return a.started + int64(a.places*1e9/a.profile.at(time.Duration(a.due)).PerSecond()/2)
}

func (a *arrivals) advance() {
	due, ok := a.schedule.Next()
	a.due = int64(due)
	if !ok {
		a.due = never
	}
}

// skip passes over the arrivals that are due before a time, and returns their number.
func (a *arrivals) skip(before int64) (n uint64) {
	for a.due < before {
		n += 1 + a.schedule.Skip(time.Duration(before))
		a.advance()
	}
	return n
}

// miss gives up the arrivals that are due before a time. Those of the warm-up are not counted.
func (l *loop) miss(before int64) (n uint64) {
	l.arrivals.skip(min(before, l.measureFrom))
	return l.arrivals.skip(before)
}

// done tells whether no arrival will come any more.
func (l *loop) done() bool {
	stop := l.stopAt.Load()
	return l.quota == 0 || l.now >= stop && (!l.open || l.arrivals.due >= stop)
}

// nextArrival returns the time at which the next connection can start, and the time at
// which it was due. Arrivals that cannot start at all are counted and passed over.
func (l *loop) nextArrival() (start, due int64) {
	if l.quota == 0 {
		return never, never
	}
	if !l.open {
		switch {
		case l.now >= l.stopAt.Load() || len(l.freeSlots) == 0:
			return never, never
		case l.gate.holds(l.now):
			return l.gate.until, never
		case l.now < l.openLimit.next:
			return l.openLimit.next, never
		case l.openLimit.gap > 0:
			return l.now, max(l.openLimit.next, l.conns[l.freeSlots[len(l.freeSlots)-1]].due)
		}
		return l.now, l.conns[l.freeSlots[len(l.freeSlots)-1]].due
	}
	a, stop := &l.arrivals, l.stopAt.Load()
	if a.profile != nil { // else all of a burst is due at once
		if l.now > l.measureFrom+lateAfter {
			a.skip(l.measureFrom) // the measured time does not bear the arrears of the warm-up
		}
		if l.now-stop > l.overtime(stop) {
			a.missed += l.miss(stop)
		}
	}
	for {
		switch late := l.now - a.due; {
		case a.due >= stop:
			return never, never
		case late < 0:
			return a.due, a.due
		case late <= missAfter && len(l.freeSlots) > 0:
			if late > lateAfter {
				return max(l.now, a.catchUp()), a.due
			}
			return l.now, a.due
		}
		missed := l.now + 1
		if len(l.freeSlots) > 0 {
			missed -= missAfter + 1
		}
		a.missed += l.miss(min(missed, stop))
	}
}

// overtime is how long late arrivals may still start after the end of the measured time: a
// quarter of it, so that a client that cannot keep up ends near its time.
func (l *loop) overtime(stop int64) int64 {
	return min(missAfter, max(lateAfter, (stop-l.measureFrom)/4))
}

// leftOver counts the arrivals of the measured time that were due when the run ended,
// late already, and that it has no time left for.
func (l *loop) leftOver() uint64 {
	if !l.open {
		return 0
	}
	return min(l.miss(min(l.stopAt.Load(), l.now)), l.quota)
}

// take counts the arrival that nextArrival returned as started.
func (l *loop) take(measured bool) {
	if measured && l.quota != never {
		l.quota--
	}
	if !l.open {
		l.openLimit.at(l.now)
		return
	}
	l.arrivals.started = l.now
	l.arrivals.advance()
}

// measures tells whether an arrival due at that time is part of the measured time.
func (l *loop) measures(due int64) bool {
	if l.open {
		return due >= l.measureFrom
	}
	return l.measuring
}
