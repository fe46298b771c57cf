package experiment

import (
	"fmt"
	"strings"
	"time"

	"tcpbench/internal/lab"
	"tcpbench/internal/segment"
	"tcpbench/metrics"
)

// arrival is a segment that came to a gate.
type arrival struct {
	segment.Segment
	from  side
	fate  lab.Fate
	at    float64
	label string
}

// flow is one direction of a connection.
type flow struct {
	from         side
	source, dest uint16
}

// notice is told of the segments of a side.
func (b *bench) notice(from side) func(*segment.Segment, lab.Fate) {
	return func(s *segment.Segment, fate lab.Fate) {
		b.mu.Lock()
		b.arrival = append(b.arrival, arrival{Segment: *s, from: from, fate: fate, at: time.Since(b.began).Seconds()})
		b.mu.Unlock()
		select {
		case b.arrived <- struct{}{}:
		default:
		}
	}
}

// reverse is the other direction.
func (f flow) reverse() flow { return flow{f.from.other(), f.dest, f.source} }

// note writes down the segments that have come, and that those which were held go on.
func (b *bench) note() {
	b.mu.Lock()
	come := b.arrival
	b.arrival = nil
	b.mu.Unlock()
	for _, a := range come {
		e := metrics.Event{T: a.at, Kind: metrics.Carried, Of: a.from.String(), Text: b.describe(&a.Segment, a.from), Connection: b.nameOf(a.connection())}
		if a.fate != lab.Pass {
			e.Fate = a.fate.String()
		}
		if a.fate != lab.Released {
			f := flow{a.from, a.Source.Port(), a.Dest.Port()}
			t := b.trails[f]
			a.label = t.label(&a.Segment, b.trails[f.reverse()])
			b.trails[f] = t.goOn(&a.Segment, a.label)
			e.Label = a.label
			b.log = append(b.log, a)
		}
		if !b.silent {
			b.event(e)
		}
	}
}

// connection is the client's port, by which connections are told apart.
func (a *arrival) connection() uint16 {
	if a.from == client {
		return a.Source.Port()
	}
	return a.Dest.Port()
}

// count is how many segments of a side have come that match, those that were sent again included.
func (b *bench) count(from side, m match) (n int) {
	b.note()
	for i := range b.log {
		if a := &b.log[i]; a.from == from && m(&a.Segment) {
			n++
		}
	}
	return n
}

// distinct is how many different segments of a connection have come since the first one that
// matches: what was sent again counts once, and what answered that a second time does not count.
func (b *bench) distinct(connection uint16, first match) int {
	b.note()
	type different struct {
		from  side
		seq   uint32
		flags segment.Flags
	}
	seen := map[different]bool{}
	begun := false
	for i := range b.log {
		a := &b.log[i]
		if a.connection() != connection || a.label == duplicateACK {
			continue
		}
		if begun = begun || first(&a.Segment); begun {
			seen[different{a.from, a.Seq, a.Flags}] = true
		}
	}
	return len(seen)
}

// describe writes a segment with numbers that count from the first of its connection. The sequence
// number of one that takes none is left out, unless it is not the next.
func (b *bench) describe(s *segment.Segment, from side) string {
	f := flow{from, s.Source.Port(), s.Dest.Port()}
	text := strings.ToUpper(s.Flags.String())
	own := b.trails[f]
	switch {
	case own.begins(s):
		text += " seq 0"
	case length(s) > 0 || s.Flags&segment.RST != 0 || s.Seq != own.next:
		text += fmt.Sprintf(" seq %d", int32(s.Seq-own.first))
	}
	if peer := b.trails[f.reverse()]; peer != nil && s.Flags&segment.ACK != 0 {
		text += fmt.Sprintf(" ack %d", int32(s.Ack-peer.first))
	}
	if s.Length > 0 {
		text += fmt.Sprintf(" %d bytes", s.Length)
	}
	if s.MSS > 0 {
		text += fmt.Sprintf(" mss %d", s.MSS)
	}
	if s.Window == 0 && s.Flags&segment.RST == 0 {
		text += " window 0"
	}
	return text
}

// match picks segments.
type match func(*segment.Segment) bool

func flags(f segment.Flags) match { return func(s *segment.Segment) bool { return s.Is(f) } }

func anything(*segment.Segment) bool { return true }

func pureACK(s *segment.Segment) bool { return s.Pure() }

// hold keeps all segments of a side back that match, until they are let through.
func (b *bench) hold(from side, m match) { b.rule(from, m, lab.Hold) }

// lose loses them.
func (b *bench) lose(from side, m match) { b.rule(from, m, lab.Lose) }

func (b *bench) rule(from side, m match, fate lab.Fate) {
	b.gate(from).Rule(func(s *segment.Segment) lab.Fate {
		if m(s) {
			return fate
		}
		return lab.Pass
	})
}

// step waits for a segment of a side that is held and matches, and lets it through. The other
// side has taken it when step returns.
func (b *bench) step(from side, what string, m match) {
	b.await(what+" of the "+from.String(), func() bool {
		_, ok, err := b.gate(from).Step(m)
		b.check(err, "let a segment through")
		return ok
	})
	b.look()
}

// comes waits for a segment of a side to be held that matches.
func (b *bench) comes(from side, what string, m match) {
	b.await(what+" of the "+from.String(), func() bool { return b.gate(from).Holds(m) })
}

// release lets all segments through from now on.
func (b *bench) release() {
	for _, s := range []side{client, server} {
		b.gate(s).Release()
	}
}
