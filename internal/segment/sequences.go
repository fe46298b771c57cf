package segment

import (
	"net/netip"
	"sync"
)

// Sequences is what one direction of a link has seen of TCP segments with data, by their sequence
// numbers: a number is a byte of a connection's stream.
type Sequences struct {
	// Segments is how many came, Lost how many of these the link has lost, and Again how many
	// had a number that had come before: they were sent again.
	Segments, Lost, Again uint64
	// Bytes is how many different numbers came, and Missing how many of these came and never
	// passed, because the link has lost them each time.
	Bytes, Missing uint64
}

// Streams follows the streams of all connections. One goroutine notes, others read.
type Streams struct {
	mu      sync.Mutex
	streams map[way]*stream
	sum     Sequences // Missing is of streams that are forgotten
}

// NewStreams follows no connection yet.
func NewStreams() *Streams { return &Streams{streams: map[way]*stream{}} }

// way is one direction of a connection.
type way struct{ source, dest netip.AddrPort }

// stream is what came of the data of one direction of a connection.
type stream struct {
	first uint32 // the sequence number of the first byte
	next  uint32 // one more than the highest number that came
	gaps  []span // numbers below next that have not come: on its way here a segment was overtaken
	holes []span // numbers that came, and that the link has lost each time
}

// span is numbers from one up to another, which is not part of it.
type span struct{ from, to uint32 }

// Before compares sequence numbers, which wrap around (RFC 9293, section 3.4).
func Before(a, b uint32) bool { return int32(a-b) < 0 }

// Note takes a packet, and whether the link has lost it.
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
			q.sum.Missing += st.missing()
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

// take returns those of the numbers that come for the first time.
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

// cut takes the numbers of one span out of others. It returns those that are left, and those taken.
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

func (st *stream) missing() uint64 { return size(st.holes) }

func (q *Streams) Read() Sequences {
	q.mu.Lock()
	defer q.mu.Unlock()
	sum := q.sum
	for _, st := range q.streams {
		sum.Missing += st.missing()
	}
	return sum
}
