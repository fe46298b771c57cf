package lab

import (
	"bytes"
	"encoding/binary"
	"errors"
	"tcpbench/internal/pcap"
	"tcpbench/internal/segment"
	"testing"
	"time"
)

// frames reads a file of packets: their bytes, with the header of the link. They stand in the
// order in which the socket had them, and a frame that arrives may have its time before it is
// there: a frame that leaves meanwhile has a later one.
func frames(t *testing.T, b []byte) (link uint32, all [][]byte) {
	t.Helper()
	if len(b) < 24 || binary.NativeEndian.Uint32(b) != 0xa1b23c4d {
		t.Fatalf("%d bytes, no header", len(b))
	}
	link = binary.NativeEndian.Uint32(b[20:])
	for b = b[24:]; len(b) > 0; {
		if len(b) < 16 {
			t.Fatal("half a header")
		}
		at := uint64(binary.NativeEndian.Uint32(b))*1e9 + uint64(binary.NativeEndian.Uint32(b[4:]))
		kept, length := binary.NativeEndian.Uint32(b[8:]), binary.NativeEndian.Uint32(b[12:])
		if kept > length || int(kept) > len(b)-16 || at > uint64(time.Now().UnixNano()) {
			t.Fatalf("%d of %d bytes at %d", kept, length, at)
		}
		all = append(all, b[16:16+kept])
		b = b[16+kept:]
	}
	return link, all
}

// What a connection sends is in the file, whatever carries it: both SYNs and both FINs, once each.
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
		link, all := frames(t, file.Bytes())
		if link != 1 || uint64(len(all)) != c.Packets || c.Dropped != 0 {
			t.Errorf("link type %d, %d packets of %d, %d dropped", link, len(all), c.Packets, c.Dropped)
		}
		count := map[segment.Flags]int{}
		for _, b := range all {
			if s, ok := segment.Parse(packetIn(b)); ok {
				count[s.Flags&(segment.SYN|segment.ACK)]++
			}
		}
		if count[segment.SYN] != 1 || count[segment.SYN|segment.ACK] != 1 || count[segment.ACK] < 1 {
			t.Errorf("gated %v: %v", gated, count)
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestCaptureThatCannotBeWritten(t *testing.T) {
	l := newLab(t, Link{})
	c := pcap.NewCapture(full{})
	end, err := l.Record(c)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(end(), c.Flush()); err == nil {
		t.Error("nothing was written, and nobody knows")
	}
}
