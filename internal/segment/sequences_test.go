package segment

import (
	"encoding/binary"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// What is counted by spans is what a table of every number says, also where numbers wrap around.
func TestSequences(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const most = 400
		base := rapid.SampledFrom([]uint32{0, 7, 1<<32 - 100}).Draw(t, "base")
		q := NewStreams()
		var want Sequences
		came, passed := [most]bool{}, [most]bool{}
		syn := func(first uint32) []byte {
			packet := packetOf(4, nil, 0)
			packet[20+13] = byte(SYN | ACK)
			binary.BigEndian.PutUint32(packet[24:], first-1)
			return packet
		}
		q.Note(syn(base), false)
		for range rapid.IntRange(1, 30).Draw(t, "segments") {
			from := rapid.IntRange(0, most-1).Draw(t, "from") // also after a gap: one overtakes another
			length := min(rapid.IntRange(1, 60).Draw(t, "length"), most-from)
			lost := rapid.Bool().Draw(t, "lost")
			if rapid.IntRange(0, 9).Draw(t, "SYN") == 0 {
				q.Note(syn(base), lost) // sent again
			}
			packet := packetOf(4, nil, length)
			packet[20+13] = byte(ACK)
			binary.BigEndian.PutUint32(packet[24:], base+uint32(from))
			q.Note(packet, lost)
			want.Segments++
			if slices.Contains(came[from:from+length], true) {
				want.Again++
			}
			if lost {
				want.Lost++
			}
			for i := from; i < from+length; i++ {
				came[i], passed[i] = true, passed[i] || !lost
			}
		}
		for i := range came {
			if came[i] {
				want.Bytes++
			}
			if came[i] && !passed[i] {
				want.Missing++
			}
		}
		if got := q.Read(); got != want {
			t.Fatalf("%+v, want %+v", got, want)
		}
		q.Note(syn(base+1<<20), false) // the same ports, another connection
		packet := packetOf(4, nil, 10)
		packet[20+13] = byte(ACK)
		binary.BigEndian.PutUint32(packet[24:], base+1<<20)
		q.Note(packet, false)
		want.Segments, want.Bytes = want.Segments+1, want.Bytes+10
		if got := q.Read(); got != want {
			t.Fatalf("with another connection: %+v, want %+v", got, want)
		}
	})
}
