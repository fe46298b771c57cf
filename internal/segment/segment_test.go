package segment

import (
	"encoding/binary"
	"slices"
	"testing"
)

// packet is a TCP segment as the network carries it.
func packetOf(version byte, options []byte, payload int) []byte {
	tcp := make([]byte, 20+len(options)+payload)
	binary.BigEndian.PutUint16(tcp, 4000)
	binary.BigEndian.PutUint16(tcp[2:], 9000)
	binary.BigEndian.PutUint32(tcp[4:], 7)
	tcp[12], tcp[13] = byte(20+len(options))<<2, byte(SYN|ACK)
	copy(tcp[20:], options)
	if version == 6 {
		ip := make([]byte, 40)
		ip[0], ip[6] = 0x60, 6
		binary.BigEndian.PutUint16(ip[4:], uint16(len(tcp)))
		return append(ip, tcp...)
	}
	ip := make([]byte, 20)
	ip[0], ip[9] = 0x45, 6
	binary.BigEndian.PutUint16(ip[2:], uint16(20+len(tcp)))
	return append(ip, tcp...)
}

func TestParse(t *testing.T) {
	for _, version := range []byte{4, 6} {
		whole := packetOf(version, []byte{1, 3, 3, 7, 2, 4, 5, 0xb4, 0, 0, 0, 0}, 3)
		// What lies behind the packet's own end is not part of it.
		for _, b := range [][]byte{whole, append(slices.Clone(whole), 1, 2, 3)} {
			s, ok := Parse(b)
			if !ok || s.Source.Port() != 4000 || s.Dest.Port() != 9000 || s.Seq != 7 || s.MSS != 1460 || s.Length != 3 || !s.Is(SYN|ACK) {
				t.Errorf("IPv%d: %+v %v", version, s, ok)
			}
		}
		for n := range whole {
			if _, ok := Parse(whole[:n]); ok {
				t.Errorf("IPv%d: the first %d of %d bytes are a segment", version, n, len(whole))
			}
		}
	}
	udp := packetOf(4, nil, 0)
	udp[9] = 17
	fragment := packetOf(4, nil, 0)
	fragment[7] = 1
	for name, b := range map[string][]byte{"UDP": udp, "a later fragment": fragment, "IPv5": {0x50}} {
		if _, ok := Parse(b); ok {
			t.Errorf("%s is a segment", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(packetOf(4, []byte{2, 4, 5, 0xb4}, 2))
	f.Add(packetOf(6, []byte{1, 1, 8, 0}, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, ok := Parse(b); ok && (s.Length < 0 || s.Length > len(b)-40) {
			t.Errorf("%d bytes of payload in a packet of %d", s.Length, len(b))
		}
	})
}
