// Package segment reads TCP segments: their headers, what each is in its connection, and which bytes of a
// stream have come.
package segment

import (
	"encoding/binary"
	"net/netip"
)

// Segment is the header of a TCP segment (RFC 9293, section 3.1).
type Segment struct {
	Source, Dest netip.AddrPort
	Seq, Ack     uint32
	Flags        Flags
	Window       uint16 // not scaled
	Length       int    // bytes of payload
	MSS          uint16 // zero if the option is missing
}

// Is tells whether the segment has exactly these flags. PSH does not count: it says nothing about
// the connection's state.
func (s *Segment) Is(f Flags) bool { return s.Flags&^PSH == f&^PSH }

// Pure tells whether the segment is an ACK without data.
func (s *Segment) Pure() bool { return s.Is(ACK) && s.Length == 0 }

const (
	protocolTCP   = 6
	headerIPv6    = 40
	leastTCP      = 20
	optionEnd     = 0
	optionNothing = 1
	optionMSS     = 2
)

// Parse reads an IP packet. ok is false if it is not a whole TCP segment.
func Parse(b []byte) (s Segment, ok bool) {
	if len(b) == 0 {
		return s, false
	}
	var source, dest netip.Addr
	switch b[0] >> 4 {
	case 4:
		header := int(b[0]&15) * 4
		if header < 20 || len(b) < header || b[9] != protocolTCP || binary.BigEndian.Uint16(b[6:])&0x1fff != 0 {
			return s, false
		}
		total := int(binary.BigEndian.Uint16(b[2:]))
		if total < header || total > len(b) {
			return s, false
		}
		source, dest = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
		b = b[header:total]
	case 6:
		if len(b) < headerIPv6 || b[6] != protocolTCP { // the kernel puts no extension headers before TCP
			return s, false
		}
		total := headerIPv6 + int(binary.BigEndian.Uint16(b[4:]))
		if total > len(b) {
			return s, false
		}
		source, dest = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
		b = b[headerIPv6:total]
	default:
		return s, false
	}
	if len(b) < leastTCP {
		return s, false
	}
	offset := int(b[12]>>4) * 4
	if offset < leastTCP || offset > len(b) {
		return s, false
	}
	return Segment{
		Source: netip.AddrPortFrom(source, binary.BigEndian.Uint16(b)), Dest: netip.AddrPortFrom(dest, binary.BigEndian.Uint16(b[2:])),
		Seq: binary.BigEndian.Uint32(b[4:]), Ack: binary.BigEndian.Uint32(b[8:]), Flags: Flags(b[13]) & kept,
		Window: binary.BigEndian.Uint16(b[14:]), Length: len(b) - offset, MSS: mssOf(b[leastTCP:offset]),
	}, true
}

// mssOf returns the maximum segment size that the options announce, or zero.
func mssOf(options []byte) uint16 {
	for len(options) > 0 {
		switch {
		case options[0] == optionEnd:
			return 0
		case options[0] == optionNothing:
			options = options[1:]
			continue
		case len(options) < 2 || options[1] < 2 || int(options[1]) > len(options):
			return 0
		case options[0] == optionMSS && options[1] == 4:
			return binary.BigEndian.Uint16(options[2:])
		}
		options = options[options[1]:]
	}
	return 0
}
