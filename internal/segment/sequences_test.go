package segment

import (
	"encoding/binary"
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
		next := 0
		for range rapid.IntRange(1, 30).Draw(t, "segments") {
			from := rapid.IntRange(0, min(next, most-1)).Draw(t, "from")
			if rapid.Bool().Draw(t, "in order") {
				from = min(next, most-1)
			}
			length := min(rapid.IntRange(1, 60).Draw(t, "length"), most-from)
			lost := rapid.Bool().Draw(t, "lost")
			packet := packetOf(4, nil, length)
			packet[20+13] = byte(ACK)
			binary.BigEndian.PutUint32(packet[24:], base+uint32(from))
			q.Note(packet, lost)
			want.Segments++
			if from < next {
				want.Again++
			}
			if lost {
				want.Lost++
			}
			for i := from; i < from+length; i++ {
				came[i], passed[i] = true, passed[i] || !lost
			}
			next = max(next, from+length)
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
		q.Note(packetOf(4, nil, 0), false) // a SYN+ACK: the same ports, another connection
		packet := packetOf(4, nil, 10)
		packet[20+13] = byte(ACK)
		q.Note(packet, false)
		want.Segments, want.Bytes = want.Segments+1, want.Bytes+10
		if got := q.Read(); got != want {
			t.Fatalf("with another connection: %+v, want %+v", got, want)
		}
	})
}
