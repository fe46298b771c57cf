package lab

import (
	"slices"
	"sync"
	"time"
)

// Fate is what becomes of a packet at a gate.
type Fate uint8

// The fates.
const (
	Pass Fate = iota
	Hold      // until Release
	Lose
)

func (f Fate) String() string { return [...]string{"passed", "held", "lost"}[f] }

// Gate looks at the packets of one direction of the link, one by one, and decides what becomes
// of each: it can hold a moment that is over in microseconds for as long as one likes to look.
type Gate struct {
	mu    sync.Mutex
	wire  *wire
	rule  func(*Segment) Fate
	watch func(*Segment, Fate)
	held  []copied
	gone  bool
}

// gateTally counts what a gate was asked and has done. A frame that was held is stepped,
// released or discarded later, or held still.
type gateTally struct{ hold, lose, step, release, discard tally }

// Watch calls f with every TCP segment from now on, in order, and with what became of it:
// that the link's rules of loss took it, too. The gate is locked meanwhile.
func (g *Gate) Watch(f func(*Segment, Fate)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.watch = f
}

// Rule decides about every TCP segment from now on; nil lets all pass. Packets of other kinds
// always pass.
func (g *Gate) Rule(f func(*Segment) Fate) {
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
		switch {
		case g.gone:
			c.free()
		case g.wire.delay != nil:
			g.wire.gated.release.count(true)
			g.wire.enqueue(c)
		default:
			g.wire.gated.release.count(g.wire.send(c.frame()) == nil)
			c.free()
		}
	}
	g.held = nil
}

// Holds tells whether a segment is held that matches.
func (g *Gate) Holds(match func(*Segment) bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, _, ok := g.find(match)
	return ok
}

// Step hands the first segment that is held and matches to the receiver, whose kernel has taken
// it when Step returns. ok tells whether there was one.
func (g *Gate) Step(match func(*Segment) bool) (s Segment, ok bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s, i, ok := g.find(match)
	if !ok || g.gone {
		return s, false, nil
	}
	c := g.held[i]
	g.held = slices.Delete(g.held, i, i+1)
	err = g.wire.send(c.frame())
	g.wire.gated.step.count(err == nil)
	c.free()
	return s, true, err
}

func (g *Gate) find(match func(*Segment) bool) (s Segment, index int, ok bool) {
	for i, c := range g.held {
		if s, ok := ParseSegment(packetIn(c.frame())); ok && match(&s) {
			return s, i, true
		}
	}
	return s, 0, false
}

// Discard loses the packets that are held. The rule stays.
func (g *Gate) Discard() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range g.held {
		g.wire.gated.discard.count(true)
		c.free()
	}
	g.held = nil
}

// arrive decides about a frame. What the gate would pass or hold, the link's rules of loss may
// still take: a packet is decided about once, in the order in which packets come.
func (g *Gate) arrive(frame []byte, due time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	fate := Pass
	s, tcp := ParseSegment(packetIn(frame))
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
	if tcp && g.watch != nil {
		g.watch(&s, fate)
	}
	switch fate {
	case Pass:
		g.wire.pass(frame, due)
	case Hold:
		g.held = append(g.held, copyOf(frame, due))
	}
}

// shut ends the gate with its wire.
func (g *Gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gone = true
}
