package lab

import (
	"bytes"
	"errors"
	"testing"

	"github.com/gopacket/gopacket/pcapgo"

	"tcpbench/internal/pcap"
	"tcpbench/internal/segment"
)

// A capture has each segment of a connection once, whatever carries it.
func TestCapture(t *testing.T) {
	for _, gated := range []bool{false, true} {
		l := newLab(t, Link{Gated: gated})
		var file bytes.Buffer
		c := pcap.NewCapture(&file)
		end, err := l.Record(c)
		if err != nil {
			t.Fatal(err)
		}
		listenIn(t, l.Server, "198.18.255.1:9000")
		if err := dialFrom(l.Client, "", "198.18.255.1:9000"); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(end(), c.Flush()); err != nil {
			t.Fatal(err)
		}
		r, err := pcapgo.NewNgReader(&file, pcapgo.DefaultNgReaderOptions)
		if err != nil {
			t.Fatal(err)
		}
		count := map[segment.Flags]int{}
		for range c.Packets {
			b, _, err := r.ReadPacketData()
			if err != nil {
				t.Fatal(err)
			}
			if s, ok := segment.Parse(packetIn(b)); ok {
				count[s.Flags&(segment.SYN|segment.ACK)]++
			}
		}
		if count[segment.SYN] != 1 || count[segment.SYN|segment.ACK] != 1 || count[segment.ACK] < 1 || c.Dropped != 0 {
			t.Errorf("gated %v: %v, %d dropped", gated, count, c.Dropped)
		}
	}
}
