package bench

import (
	"fmt"
	"slices"
	"time"

	"tcpbench/internal/lab"
	"tcpbench/internal/segment"
	"tcpbench/metrics"
)

// Kind is a kind of segment.
type Kind struct {
	Name string
	Is   func(*segment.Segment) bool
}

// The kinds.
var (
	Any        = Kind{"segment", func(*segment.Segment) bool { return true }}
	SYN        = Kind{"SYN", func(s *segment.Segment) bool { return s.Is(segment.SYN) }}
	SYNACK     = Kind{"SYN+ACK", func(s *segment.Segment) bool { return s.Is(segment.SYN | segment.ACK) }}
	ACK        = Kind{"ACK", func(s *segment.Segment) bool { return s.Pure() }}
	FIN        = Kind{"FIN", func(s *segment.Segment) bool { return s.Flags&segment.FIN != 0 }}
	RST        = Kind{"RST", func(s *segment.Segment) bool { return s.Flags&segment.RST != 0 }}
	ZeroWindow = Kind{"window of zero", func(s *segment.Segment) bool { return s.Window == 0 && s.Flags&segment.RST == 0 }}
	Data       = Kind{"data", func(s *segment.Segment) bool { return s.Length > 0 }}
)

// With is the kind of segments for which is holds, too.
func (k Kind) With(is func(*segment.Segment) bool) Kind {
	return Kind{k.Name, func(s *segment.Segment) bool { return k.Is(s) && is(s) }}
}

// Of is the kind of segments of some connections, by the client's ports.
func (k Kind) Of(ports ...uint16) Kind {
	return k.With(func(s *segment.Segment) bool {
		return slices.Contains(ports, s.Source.Port()) || slices.Contains(ports, s.Dest.Port())
	})
}

// arrival is a segment that came to a gate.
type arrival struct {
	segment.Segment
	from  Side
	fate  lab.Fate
	at    float64
	label string
}

// notice is called with the segments that come to a gate.
func (b *Bench) notice(from Side) func(*segment.Segment, lab.Fate) {
	return func(s *segment.Segment, fate lab.Fate) {
		b.mu.Lock()
		b.come = append(b.come, arrival{Segment: *s, from: from, fate: fate, at: time.Since(b.began).Seconds()})
		b.mu.Unlock()
		select {
		case b.news <- struct{}{}:
		default:
		}
	}
}

// note records the segments that have come, and those that were held and go on.
func (b *Bench) note() {
	b.mu.Lock()
	come := b.come
	b.come = nil
	b.mu.Unlock()
	for _, a := range come {
		from := b.end(a.from, a.Source, a.Dest)
		e := metrics.Event{T: a.at, Kind: metrics.Carried, Of: a.from.String(), Text: from.trail.Describe(&a.Segment, from.Peer.trail), Connection: b.names[from.Connection()]}
		if a.fate != lab.Pass {
			e.Fate = a.fate.String()
		}
		if a.fate != lab.Released {
			from.trail, a.label = from.trail.Add(&a.Segment, from.Peer.trail)
			e.Label = a.label
			b.arrived = append(b.arrived, a)
		}
		if !b.Silent {
			b.event(e)
		}
	}
}

// Each calls f with each segment of a side and of a kind that has come, retransmissions too.
func (b *Bench) Each(from Side, k Kind, f func(*segment.Segment)) {
	b.note()
	for i := range b.arrived {
		if a := &b.arrived[i]; a.from == from && k.Is(&a.Segment) {
			f(&a.Segment)
		}
	}
}

// Count is how many segments of a side and of a kind have come, retransmissions too.
func (b *Bench) Count(from Side, k Kind) (n int) {
	b.Each(from, k, func(*segment.Segment) { n++ })
	return n
}

// Distinct counts the different segments of the connection since the first of a kind: a segment and
// its retransmissions count once, duplicate ACKs do not count.
func (e *End) Distinct(first Kind) int {
	e.bench.note()
	type different struct {
		from  Side
		seq   uint32
		flags segment.Flags
	}
	seen, begun := map[different]bool{}, false
	for i := range e.bench.arrived {
		a := &e.bench.arrived[i]
		if from := e.bench.end(a.from, a.Source, a.Dest); from != e && from != e.Peer || a.label == segment.DuplicateACK {
			continue
		}
		if begun = begun || first.Is(&a.Segment); begun {
			seen[different{a.from, a.Seq, a.Flags}] = true
		}
	}
	return len(seen)
}

// gate is the one that segments of a side pass.
func (b *Bench) gate(from Side) *lab.Gate {
	return [...]*lab.Gate{b.Lab.ToServer, b.Lab.ToClient}[from]
}

// Hold lets the link hold all segments of a side and of a kind.
func (b *Bench) Hold(from Side, k Kind) { b.rule(from, k, lab.Hold) }

// Lose lets the link lose them.
func (b *Bench) Lose(from Side, k Kind) { b.rule(from, k, lab.Lose) }

func (b *Bench) rule(from Side, k Kind, fate lab.Fate) {
	b.gate(from).Rule(func(s *segment.Segment) lab.Fate {
		if k.Is(s) {
			return fate
		}
		return lab.Pass
	})
}

// Step waits for a held segment of a side and of a kind, and lets it pass. When Step returns the
// other side's kernel has processed it.
func (b *Bench) Step(from Side, k Kind) {
	b.Await(fmt.Sprintf("the %s of the %s", k.Name, from), func() bool {
		_, ok, err := b.gate(from).Step(k.Is)
		b.Check(err, "let a segment pass")
		return ok
	})
	b.Look()
}

// Comes waits until a segment of a side and of a kind is held.
func (b *Bench) Comes(from Side, k Kind) {
	b.Await(fmt.Sprintf("the %s of the %s", k.Name, from), func() bool { return b.Holds(from, k) })
}

// Holds tells whether a segment of a side and of a kind is held.
func (b *Bench) Holds(from Side, k Kind) bool { return b.gate(from).Holds(k.Is) }

// Release lets all segments pass from now on, of both sides or of those named.
func (b *Bench) Release(from ...Side) {
	if from == nil {
		from = sides
	}
	for _, s := range from {
		b.gate(s).Release()
	}
}
