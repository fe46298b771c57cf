package lab

import (
	"os"
	"slices"
	"sync"
	"tcpbench/internal/segment"
)

// Fate is what becomes of a packet at a gate.
type Fate uint8

// The fates.
const (
	Pass Fate = iota
	Hold      // until Step or Release
	Lose
	Released // one that was held goes on
)

func (f Fate) String() string { return [...]string{"passed", "held", "lost", "released"}[f] }

// Gate looks at the packets of one direction of the link, one by one, and decides what becomes
// of each: it can hold a moment that is over in microseconds for as long as one likes to look.
type Gate struct {
	mu    sync.Mutex
	wire  *wire
	rule  func(*segment.Segment) Fate
	watch func(*segment.Segment, Fate)
	held  []copied
	gone  bool
}

// gateTally counts what a gate was asked and has done. A frame that was held is stepped or
// released later, or held still.
type gateTally struct{ hold, lose, step, release tally }

// Watch calls f with every TCP segment from now on, in order, and with what becomes of it: that
// the link loses it, too, by its rules or because too many are under way. One that is held is told
// of again when it goes on. The gate is locked meanwhile.
func (g *Gate) Watch(f func(*segment.Segment, Fate)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.watch = f
}

// Rule decides about every TCP segment from now on; nil lets all pass. Packets of other kinds
// always pass.
func (g *Gate) Rule(f func(*segment.Segment) Fate) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rule = f
}

// Held is how many packets are held.
func (g *Gate) Held() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.held)
}

// Release lets all pass from now on, those that were held first.
func (g *Gate) Release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rule = nil
	for _, c := range g.held {
		if g.gone {
			c.free()
			continue
		}
		s, tcp := segment.Parse(packetIn(c.frame()))
		g.tell(&s, tcp, Released)
		if g.wire.delay != nil {
			g.wire.gated.release.count(true)
			g.wire.enqueue(c)
			continue
		}
		g.wire.gated.release.count(g.wire.send(c.frame()) == nil)
		c.free()
	}
	g.held = nil
}

// Holds tells whether a segment is held that matches.
func (g *Gate) Holds(match func(*segment.Segment) bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, _, ok := g.find(match)
	return ok
}

// Step lets the first segment go on that is held and matches; when it returns the receiver's kernel
// has taken it, which the link's delay comes before. ok tells whether there was one.
func (g *Gate) Step(match func(*segment.Segment) bool) (s segment.Segment, ok bool, err error) {
	given := make(chan error, 1)
	g.mu.Lock()
	s, i, ok := g.find(match)
	if !ok || g.gone {
		g.mu.Unlock()
		return s, false, nil
	}
	c := g.held[i]
	c.given = given
	g.held = slices.Delete(g.held, i, i+1)
	g.tell(&s, true, Released)
	if g.wire.delay != nil {
		g.wire.enqueue(c)
	} else {
		c.tell(g.wire.send(c.frame()))
		c.free()
	}
	g.mu.Unlock()
	select {
	case err = <-given:
	case <-g.wire.ended:
		err = os.ErrClosed
	}
	g.wire.gated.step.count(err == nil)
	return s, true, err
}

// tell lets the watcher know of a packet, if it is a TCP segment.
func (g *Gate) tell(s *segment.Segment, tcp bool, fate Fate) {
	if tcp && g.watch != nil {
		g.watch(s, fate)
	}
}

func (g *Gate) find(match func(*segment.Segment) bool) (s segment.Segment, index int, ok bool) {
	for i, c := range g.held {
		if s, ok := segment.Parse(packetIn(c.frame())); ok && match(&s) {
			return s, i, true
		}
	}
	return s, 0, false
}

// arrive decides about a frame. What the gate would pass or hold, the link's rules of loss may
// still take: a packet is decided about once, in the order in which packets come.
func (g *Gate) arrive(frame []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	fate := Pass
	s, tcp := segment.Parse(packetIn(frame))
	if tcp && g.rule != nil {
		fate = g.rule(&s)
	}
	switch {
	case fate == Lose:
		g.wire.gated.lose.count(true)
	case g.wire.loses(frame):
		fate = Lose
	case fate == Hold && !g.wire.gated.hold.count(len(g.held) < mostQueued):
		fate = Lose
		g.wire.queueFull.Add(1)
	}
	switch {
	case fate == Pass && g.wire.full():
		g.tell(&s, tcp, Lose)
	default:
		g.tell(&s, tcp, fate)
	}
	switch fate {
	case Pass:
		g.wire.pass(frame)
	case Hold:
		g.held = append(g.held, copyOf(frame))
	}
}

// shut ends the gate with its wire.
func (g *Gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gone = true
}
