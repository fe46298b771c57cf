package loadgen

import "math"

// never is a time that does not come.
const never = math.MaxInt64

// limiter spaces events by at least gap nanoseconds; a gap of zero does not.
type limiter struct{ gap, next int64 }

func newLimiter(r Rate, loops int) limiter {
	if r == 0 {
		return limiter{}
	}
	return limiter{gap: int64(float64(loops) * 1e9 / r.PerSecond())}
}

// at books the first time not before t at which an event may happen.
func (l *limiter) at(t int64) int64 {
	if l.gap == 0 {
		return t
	}
	t = max(t, l.next)
	l.next = t + l.gap
	return t
}
