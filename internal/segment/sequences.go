package segment

import (
	"net/netip"
	"sync"
)

// Sequences counts TCP segments with data in one direction of a link, by their sequence numbers.
type Sequences struct {
	// Segments is how many came, Lost how many of them the link lost, and Again how many carried
	// bytes that had come before: retransmissions.
	Segments, Lost, Again uint64
	// Bytes is how many different bytes came, and Missing how many of them never passed, because
	// the link lost them each time.
	Bytes, Missing uint64
}

// Streams follows the data of all connections. One goroutine calls Note, any may call Read.
type Streams struct {
	mu      sync.Mutex
	streams map[way]*stream
	sum     Sequences // Missing is that of connections whose four-tuple has been used again
}

// NewStreams returns an empty Streams.
func NewStreams() *Streams { return &Streams{streams: map[way]*stream{}} }

// way is one direction of a connection.
type way struct{ source, dest netip.AddrPort }

// stream is the data that came in one direction of a connection.
type stream struct {
	first uint32 // the sequence number of the first byte
	next  uint32 // the highest number that came, plus one
	gaps  []span // numbers below next that have not come yet: their segment was overtaken
	holes []span // numbers that came, and that the link lost each time
}

// span is the numbers from from up to to, without to.
type span struct{ from, to uint32 }

// Before compares sequence numbers, which wrap around (RFC 9293, section 3.4).
func Before(a, b uint32) bool { return int32(a-b) < 0 }

// Note counts a packet; lost tells whether the link lost it.
func (q *Streams) Note(packet []byte, lost bool) {
	s, ok := Parse(packet)
	if !ok || s.Length == 0 && s.Flags&SYN == 0 {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	first := s.Seq
	if s.Flags&SYN != 0 {
		first++ // a SYN takes a number of its own
	}
	at := way{s.Source, s.Dest}
	st := q.streams[at]
	if st == nil || s.Flags&SYN != 0 && st.first != first { // a new connection
		if st != nil {
			q.sum.Missing += size(st.holes)
		}
		st = &stream{first: first, next: first}
		q.streams[at] = st
	}
	if s.Length == 0 {
		return
	}
	data := span{first, first + uint32(s.Length)}
	fresh := st.take(data)
	q.sum.Segments++
	q.sum.Bytes += size(fresh)
	if size(fresh) < uint64(s.Length) {
		q.sum.Again++
	}
	if lost {
		q.sum.Lost++
		st.holes = append(st.holes, fresh...)
	} else {
		st.holes, _ = cut(st.holes, data)
	}
}

// take returns the numbers that come for the first time.
func (st *stream) take(data span) (fresh []span) {
	st.gaps, fresh = cut(st.gaps, data)
	if Before(st.next, data.from) {
		st.gaps = append(st.gaps, span{st.next, data.from})
		st.next = data.from
	}
	if Before(st.next, data.to) {
		fresh = append(fresh, span{st.next, data.to})
		st.next = data.to
	}
	return fresh
}

// cut removes a span from others. It returns what is left, and what was removed.
func cut(all []span, out span) (left, taken []span) {
	for _, s := range all {
		if !Before(out.from, s.to) || !Before(s.from, out.to) {
			left = append(left, s)
			continue
		}
		if Before(s.from, out.from) {
			left = append(left, span{s.from, out.from})
			s.from = out.from
		}
		if Before(out.to, s.to) {
			left = append(left, span{out.to, s.to})
			s.to = out.to
		}
		taken = append(taken, s)
	}
	return left, taken
}

func size(all []span) (n uint64) {
	for _, s := range all {
		n += uint64(s.to - s.from)
	}
	return n
}

// Read returns the counts so far.
func (q *Streams) Read() Sequences {
	q.mu.Lock()
	defer q.mu.Unlock()
	sum := q.sum
	for _, st := range q.streams {
		sum.Missing += size(st.holes)
	}
	return sum
}
