package pace

import "time"

// Limiter spaces events evenly, by no more than a rate. The zero value does not limit.
type Limiter struct{ gap, next int64 }

// NewLimiter returns one loop's share of a rate that all loops have together; zero does not limit.
func NewLimiter(r Rate, loops int) Limiter {
	if r == 0 {
		return Limiter{}
	}
	return Limiter{gap: int64(float64(loops) * 1e9 / r.PerSecond())}
}

// At books the first time, not before t, at which an event may happen.
func (l *Limiter) At(t int64) int64 {
	if l.gap == 0 {
		return t
	}
	t = max(t, l.next)
	l.next = t + l.gap
	return t
}

const (
	firstPause = int64(time.Millisecond)
	lastPause  = int64(100 * time.Millisecond)
)

// Backoff holds attempts back while this host is out of ports, descriptors or buffers. A connect()
// that finds no port has searched the whole range, for milliseconds (__inet_hash_connect): trying
// at once with every slot would measure nothing else.
type Backoff struct {
	Until int64 // before this time no attempt is made; zero without a pause

	pause int64 // zero while attempts succeed
	since int64 // of the first pause
	total int64 // nanoseconds of all pauses that have ended
}

// Blocks tells whether attempts wait.
func (b *Backoff) Blocks(now int64) bool { return now < b.Until }

// Fail begins a pause. It doubles until an attempt succeeds.
func (b *Backoff) Fail(now int64) {
	if b.pause == 0 {
		b.since = now
	}
	b.pause = min(max(2*b.pause, firstPause), lastPause)
	b.Until = now + b.pause
}

// Succeed ends the pauses. It is called with every success.
func (b *Backoff) Succeed(now int64) {
	if b.pause != 0 {
		b.total += now - b.since
		b.pause, b.Until = 0, 0
	}
}

// Total returns the nanoseconds from the first failure of each row to the success that ended it,
// up to now.
func (b *Backoff) Total(now int64) int64 {
	if b.pause != 0 {
		return b.total + now - b.since
	}
	return b.total
}
