package lab

import (
	"os"
	"slices"
	"sync"
	"tcpbench/internal/segment"
)

// Fate is what happens to a packet at a gate.
type Fate uint8

// The fates.
const (
	Pass Fate = iota
	Hold      // until Step or Release
	Lose
	Released // a packet that was held goes on
)

func (f Fate) String() string { return [...]string{"passed", "held", "lost", "released"}[f] }

// Gate passes, holds or loses each packet in one direction of the link. It can stop a connection in a
// moment that is otherwise over in microseconds.
type Gate struct {
	mu    sync.Mutex
	wire  *wire
	rule  func(*segment.Segment) Fate
	watch func(*segment.Segment, Fate)
	held  []copied
	gone  bool
}

// gateTally counts what a gate did. A frame that was held is later stepped or released, or still held.
type gateTally struct{ hold, lose, step, release tally }

// Watch calls f with every TCP segment from now on, in order, and with its fate. The fate is Lose too
// if the link's rules lose it or too many packets are under way. f gets a segment that is held again
// when it goes on. The gate is locked while f runs.
func (g *Gate) Watch(f func(*segment.Segment, Fate)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.watch = f
}

// Rule sets f to decide about every TCP segment from now on; nil passes all. Other packets always
// pass.
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

// Release passes all packets from now on, those that were held first.
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

// Holds tells whether a matching segment is held.
func (g *Gate) Holds(match func(*segment.Segment) bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, _, ok := g.find(match)
	return ok
}

// Step passes the first matching segment that is held. It returns when the receiver's kernel has taken
// it, after the link's delay. ok tells whether there was one.
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

// tell calls the watcher, if the packet is a TCP segment.
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

// arrive decides about a frame. The link's rules of loss are asked about what the gate would pass or
// hold, once, in the order in which packets come.
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

// shut drops what is released from now on.
func (g *Gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.gone = true
}
