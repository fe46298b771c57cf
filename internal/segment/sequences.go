package segment

import (
	"net/netip"
	"sync"
)

// Sequences is what one direction of a link has seen of TCP segments with data, by their sequence
// numbers: a number is a byte of a connection's stream.
type Sequences struct {
	// Segments is how many came, Lost how many of these the link has lost, and Again how many
	// began with a number that had come before: they were sent again.
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
	next  uint32 // behind the highest number that came
	holes []span // numbers that came and have not passed yet
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
	at := way{s.Source, s.Dest}
	st := q.streams[at]
	if s.Flags&SYN != 0 && st != nil { // the ports have a new connection
		q.sum.Missing += st.missing()
		delete(q.streams, at)
		st = nil
	}
	if s.Length == 0 {
		return
	}
	if st == nil {
		st = &stream{next: s.Seq}
		q.streams[at] = st
	}
	q.sum.Segments++
	if Before(s.Seq, st.next) {
		q.sum.Again++
	}
	end := s.Seq + uint32(s.Length)
	fresh := span{st.next, end}
	if Before(st.next, s.Seq) { // the link has not read what lies between
		fresh.from = s.Seq
	}
	if Before(st.next, end) {
		q.sum.Bytes += uint64(fresh.to - fresh.from)
		st.next = end
		if lost {
			st.holes = append(st.holes, fresh)
		}
	}
	if lost {
		q.sum.Lost++
	} else {
		st.fill(span{s.Seq, end})
	}
}

// fill: numbers have passed.
func (st *stream) fill(passed span) {
	var left []span
	for _, h := range st.holes {
		if !Before(passed.from, h.to) || !Before(h.from, passed.to) {
			left = append(left, h)
			continue
		}
		if Before(h.from, passed.from) {
			left = append(left, span{h.from, passed.from})
		}
		if Before(passed.to, h.to) {
			left = append(left, span{passed.to, h.to})
		}
	}
	st.holes = left
}

func (st *stream) missing() (n uint64) {
	for _, h := range st.holes {
		n += uint64(h.to - h.from)
	}
	return n
}

func (q *Streams) Read() Sequences {
	q.mu.Lock()
	defer q.mu.Unlock()
	sum := q.sum
	for _, st := range q.streams {
		sum.Missing += st.missing()
	}
	return sum
}
