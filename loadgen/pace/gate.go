package pace

import "time"

const (
	firstPause = int64(time.Millisecond)
	LastPause  = int64(100 * time.Millisecond)
)

// Gate holds arrivals back while this host is out of ports, descriptors or buffers. A
// connect() that finds no port has searched the whole range, milliseconds of it
// (__inet_hash_connect): trying at once with every slot would measure nothing else.
type Gate struct {
	pause int64 // zero while the gate is open
	Until int64
	since int64 // when it was shut first
	total int64 // time for which it was shut, in nanoseconds
}

func (g *Gate) Holds(now int64) bool { return now < g.Until }

// Shut closes the gate for a pause that doubles until something succeeds.
func (g *Gate) Shut(now int64) {
	if g.pause == 0 {
		g.since = now
	}
	g.pause = min(max(2*g.pause, firstPause), LastPause)
	g.Until = now + g.pause
}

// Open is called with every success.
func (g *Gate) Open(now int64) {
	if g.pause != 0 {
		g.total += now - g.since
		g.pause, g.Until = 0, 0
	}
}

// ShutFor is the time for which the gate has been shut up to now.
func (g *Gate) ShutFor(now int64) int64 {
	if g.pause != 0 {
		return g.total + now - g.since
	}
	return g.total
}
