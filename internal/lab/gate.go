package lab

import (
	"slices"
	"sync"
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
// of each: with it a moment that is over in microseconds can be held for as long as one likes
// to look.
type Gate struct {
	mu    sync.Mutex
	wire  *wire
	rule  func(*Segment) Fate
	watch func(*Segment, Fate)
	held  []packet
	gone  bool
}

func newGate(w *wire) *Gate {
	g := &Gate{wire: w}
	w.gate = g
	return g
}

// Watch has every TCP segment told from now on, in order, and what became of it. It is called
// with the gate locked.
func (g *Gate) Watch(f func(*Segment, Fate)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.watch = f
}

// Rule decides about every TCP segment from now on; nil lets all pass. Packets of other kinds
// pass always.
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
	for _, p := range g.held {
		if !g.gone {
			g.wire.send(p)
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
	p := g.held[i]
	g.held = slices.Delete(g.held, i, i+1)
	_, err = g.wire.to.Write(p.bytes())
	g.wire.buffers.Put(p.buffer)
	return s, true, err
}

func (g *Gate) find(match func(*Segment) bool) (s Segment, index int, ok bool) {
	for i, p := range g.held {
		if s, ok := ParseSegment(p.bytes()); ok && match(&s) {
			return s, i, true
		}
	}
	return s, 0, false
}

// Discard loses the packets that are held. The rule stays.
func (g *Gate) Discard() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = nil
}

func (g *Gate) arrive(p packet) {
	g.mu.Lock()
	defer g.mu.Unlock()
	fate := Pass
	if s, ok := ParseSegment(p.bytes()); ok {
		if g.rule != nil {
			fate = g.rule(&s)
		}
		if g.watch != nil {
			g.watch(&s, fate)
		}
	}
	switch {
	case fate == Hold && len(g.held) < mostQueued:
		g.held = append(g.held, p)
	case fate == Pass:
		g.wire.send(p)
	default:
		g.wire.buffers.Put(p.buffer)
	}
}

// shut ends the gate with its wire.
func (g *Gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gone = true
}
