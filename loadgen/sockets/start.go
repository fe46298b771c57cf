package sockets

import "tcpbench/loadgen/pace"

// miss gives up the arrivals that are due before a time. Those of the warm-up are not counted.
func (l *loop) miss(before int64) (n uint64) {
	l.arrivals.Skip(min(before, l.measureFrom))
	return l.arrivals.Skip(before)
}

// done tells whether no arrival will come any more.
func (l *loop) done() bool {
	stop := l.stopAt.Load()
	return l.quota == 0 || l.now >= stop && (!l.open || l.arrivals.Due >= stop)
}

// nextArrival returns the time at which the next connection can start, and the time at
// which it was due. Arrivals that cannot start at all are counted and passed over.
func (l *loop) nextArrival() (start, due int64) {
	if l.quota == 0 {
		return pace.Never, pace.Never
	}
	if !l.open {
		switch {
		case l.now >= l.stopAt.Load() || len(l.freeSlots) == 0:
			return pace.Never, pace.Never
		case l.gate.Holds(l.now):
			return l.gate.Until, pace.Never
		case l.now < l.openLimit.Next:
			return l.openLimit.Next, pace.Never
		case l.openLimit.Gap > 0:
			return l.now, max(l.openLimit.Next, l.conns[l.freeSlots[len(l.freeSlots)-1]].due)
		}
		return l.now, l.conns[l.freeSlots[len(l.freeSlots)-1]].due
	}
	a, stop := &l.arrivals, l.stopAt.Load()
	if a.Profile != nil { // else all of a burst is due at once
		if l.now > l.measureFrom+pace.LateAfter {
			a.Skip(l.measureFrom) // the measured time does not bear the arrears of the warm-up
		}
		if l.now-stop > l.overtime(stop) {
			a.Missed += l.miss(stop)
		}
	}
	for {
		switch late := l.now - a.Due; {
		case a.Due >= stop:
			return pace.Never, pace.Never
		case late < 0:
			return a.Due, a.Due
		case late <= pace.MissAfter && len(l.freeSlots) > 0:
			if late > pace.LateAfter {
				return max(l.now, a.CatchUp()), a.Due
			}
			return l.now, a.Due
		}
		missed := l.now + 1
		if len(l.freeSlots) > 0 {
			missed -= pace.MissAfter + 1
		}
		a.Missed += l.miss(min(missed, stop))
	}
}

// overtime is how long late arrivals may still start after the end of the measured time: a
// quarter of it, so that a client that cannot keep up ends near its time.
func (l *loop) overtime(stop int64) int64 {
	return min(pace.MissAfter, max(pace.LateAfter, (stop-l.measureFrom)/4))
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
	if measured && l.quota != pace.Never {
		l.quota--
	}
	if !l.open {
		l.openLimit.At(l.now)
		return
	}
	l.arrivals.Started = l.now
	l.arrivals.Advance()
}

// measures tells whether an arrival due at that time is part of the measured time.
func (l *loop) measures(due int64) bool {
	if l.open {
		return due >= l.measureFrom
	}
	return l.measuring
}
