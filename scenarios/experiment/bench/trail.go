package bench

import "tcpbench/internal/segment"

// trail is what one direction of a connection has sent so far. It tells what the next segment is.
type trail struct {
	first    uint32 // the first sequence number
	next     uint32 // the one after the highest
	answered bool   // it has sent a SYN+ACK
	probes   bool   // its last segment was a probe
	acks     bool   // ack is known
	ack      uint32
	windows  bool // window is known, as all but a SYN have it
	window   uint16
}

// The labels of segments that are not the next step of a connection.
const (
	retransmission = "retransmission"
	duplicateACK   = "duplicate ACK"
	windowUpdate   = "window update"
	windowProbe    = "window probe"
	keepaliveProbe = "keepalive"
	probeAnswer    = "answer"
)

// length is how many sequence numbers a segment takes (RFC 9293, section 3.4).
func length(s *segment.Segment) uint32 {
	n := uint32(s.Length)
	for _, f := range []segment.Flags{segment.SYN, segment.FIN} {
		if s.Flags&f != 0 {
			n++
		}
	}
	return n
}

// begins tells whether a segment is the first of a connection in its direction.
func (t *trail) begins(s *segment.Segment) bool {
	return t == nil || s.Flags&segment.SYN != 0 && s.Seq != t.first
}

// label says what a segment is if it is not new data, a new end or a new acknowledgement; peer is
// the trail of the other direction, and may be nil.
func (t *trail) label(s *segment.Segment, peer *trail) string {
	switch {
	case t.begins(s) || s.Flags&segment.RST != 0 || s.Flags&segment.SYN != 0 && s.Flags&segment.ACK != 0 && !t.answered:
		return "" // a SYN+ACK may follow the own SYN: a simultaneous open
	case s.Is(segment.ACK) && t.probe(s, peer):
		if peer != nil && peer.windows && peer.window == 0 {
			return windowProbe
		}
		return keepaliveProbe
	case length(s) > 0 && segment.Before(s.Seq, t.next):
		return retransmission
	case !s.Pure() || !t.acks || s.Ack != t.ack:
		return ""
	case t.windows && s.Window != t.window:
		return windowUpdate
	case peer != nil && peer.probes:
		return probeAnswer
	case t.windows:
		return duplicateACK
	}
	return ""
}

// probe tells whether an ACK asks the peer for an answer by an old sequence number: without data
// (tcp_xmit_probe_skb), or as other systems do with the last byte, which is acknowledged already
// (RFC 9293, section 3.8.4).
func (t *trail) probe(s *segment.Segment, peer *trail) bool {
	return s.Seq == t.next-1 && (s.Length == 0 || s.Length == 1 && peer != nil && peer.acks && peer.ack == t.next)
}

// goOn is the trail with one more segment.
func (t *trail) goOn(s *segment.Segment, label string) *trail {
	if t.begins(s) {
		t = &trail{first: s.Seq, next: s.Seq}
	}
	if end := s.Seq + length(s); segment.Before(t.next, end) {
		t.next = end
	}
	t.answered = t.answered || s.Is(segment.SYN|segment.ACK)
	t.probes = label == windowProbe || label == keepaliveProbe
	if s.Flags&segment.ACK != 0 {
		t.acks, t.ack = true, s.Ack
		t.windows, t.window = s.Flags&segment.SYN == 0, s.Window
	}
	return t
}
