package segment

import (
	"fmt"
	"strings"
)

// Trail is what one direction of a connection has sent so far, by which the next segment is labelled.
// A nil Trail has sent nothing.
type Trail struct {
	first    uint32 // the first sequence number
	next     uint32 // the one after the highest
	answered bool   // it has sent a SYN+ACK
	probes   bool   // its last segment was a probe
	acks     bool   // ack is known
	ack      uint32
	windows  bool // window is known, as in all segments but a SYN
	window   uint16
}

// The labels of segments that are not the next step of a connection.
const (
	Retransmission = "retransmission"
	DuplicateACK   = "duplicate ACK"
	WindowUpdate   = "window update"
	WindowProbe    = "window probe"
	KeepaliveProbe = "keepalive"
	ProbeAnswer    = "answer"
)

// span is how many sequence numbers a segment takes (RFC 9293, section 3.4).
func (s *Segment) span() uint32 {
	n := uint32(s.Length)
	for _, f := range []Flags{SYN, FIN} {
		if s.Flags&f != 0 {
			n++
		}
	}
	return n
}

// begins tells whether a segment is the first of a connection in its direction.
func (t *Trail) begins(s *Segment) bool { return t == nil || s.Flags&SYN != 0 && s.Seq != t.first }

// Add returns the trail with one more segment, and the segment's label. The label is empty for new data,
// a new end or a new acknowledgement. peer is the trail of the other direction; it may be nil.
func (t *Trail) Add(s *Segment, peer *Trail) (after *Trail, label string) {
	label = t.label(s, peer)
	if t.begins(s) {
		t = &Trail{first: s.Seq, next: s.Seq}
	}
	if end := s.Seq + s.span(); Before(t.next, end) {
		t.next = end
	}
	t.answered = t.answered || s.Is(SYN|ACK)
	t.probes = label == WindowProbe || label == KeepaliveProbe
	if s.Flags&ACK != 0 {
		t.acks, t.ack = true, s.Ack
		t.windows, t.window = s.Flags&SYN == 0, s.Window
	}
	return t, label
}

func (t *Trail) label(s *Segment, peer *Trail) string {
	switch {
	case t.begins(s) || s.Flags&RST != 0 || s.Flags&SYN != 0 && s.Flags&ACK != 0 && !t.answered:
		return "" // a SYN+ACK may follow the own SYN: a simultaneous open
	case s.Is(ACK) && t.probe(s, peer):
		if peer != nil && peer.windows && peer.window == 0 {
			return WindowProbe
		}
		return KeepaliveProbe
	case s.span() > 0 && Before(s.Seq, t.next):
		return Retransmission
	case !s.Pure() || !t.acks || s.Ack != t.ack:
		return ""
	case t.windows && s.Window != t.window:
		return WindowUpdate
	case peer != nil && peer.probes:
		return ProbeAnswer
	case t.windows:
		return DuplicateACK
	}
	return ""
}

// probe tells whether an ACK asks the peer for an answer by an old sequence number: without data
// (tcp_xmit_probe_skb) or, as other systems do, with the last byte, which is already acknowledged
// (RFC 9293, section 3.8.4).
func (t *Trail) probe(s *Segment, peer *Trail) bool {
	return s.Seq == t.next-1 && (s.Length == 0 || s.Length == 1 && peer != nil && peer.acks && peer.ack == t.next)
}

// Describe writes the next segment of the direction, with numbers that count from the first of its
// connection. It leaves out the sequence number of a segment that takes none, unless it is not the next.
func (t *Trail) Describe(s *Segment, peer *Trail) string {
	text := strings.ToUpper(s.Flags.String())
	switch {
	case t.begins(s):
		text += " seq 0"
	case s.span() > 0 || s.Flags&RST != 0 || s.Seq != t.next:
		text += fmt.Sprintf(" seq %d", int32(s.Seq-t.first))
	}
	if peer != nil && s.Flags&ACK != 0 {
		text += fmt.Sprintf(" ack %d", int32(s.Ack-peer.first))
	}
	if s.Length > 0 {
		text += fmt.Sprintf(" %d bytes", s.Length)
	}
	if s.MSS > 0 {
		text += fmt.Sprintf(" mss %d", s.MSS)
	}
	if s.Window == 0 && s.Flags&RST == 0 {
		text += " window 0"
	}
	return text
}
