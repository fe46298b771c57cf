package pace

import "math"

// Never is a time that does not come.
const Never = math.MaxInt64

// Limiter spaces events by at least gap nanoseconds; a gap of zero does not.
type Limiter struct{ Gap, Next int64 }

func NewLimiter(r Rate, loops int) Limiter {
	if r == 0 {
		return Limiter{}
	}
	return Limiter{Gap: int64(float64(loops) * 1e9 / r.PerSecond())}
}

// At books the first time not before t at which an event may happen.
func (l *Limiter) At(t int64) int64 {
	if l.Gap == 0 {
		return t
	}
	t = max(t, l.Next)
	l.Next = t + l.Gap
	return t
}
