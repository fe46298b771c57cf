package lab

import (
	"encoding/binary"
	"net"
	"slices"
	"testing"
	"time"
)

// passing is what a gate's watcher was told.
type passing struct {
	Segment
	fate Fate
}

func watched(g *Gate) <-chan passing {
	seen := make(chan passing, 100)
	g.Watch(func(s *Segment, f Fate) { seen <- passing{*s, f} })
	return seen
}

func next(t *testing.T, seen <-chan passing) passing {
	t.Helper()
	select {
	case p := <-seen:
		return p
	case <-time.After(5 * time.Second):
		t.Fatal("no segment comes")
		return passing{}
	}
}

// A handshake stands still for as long as its second segment is held, goes on when that is
// released, and fails when it is lost; its segments say what a handshake's say.
func TestGate(t *testing.T) {
	l := newLab(t, Link{Gated: true})
	listenIn(t, l.Server, "198.18.255.1:9000")
	out, back := watched(l.ToServer), watched(l.ToClient)
	l.ToClient.Rule(func(s *Segment) Fate {
		if s.Is(SYN | ACK) {
			return Hold
		}
		return Pass
	})
	connected := make(chan error, 1)
	go func() { connected <- dialFrom(l.Client, "", "198.18.255.1:9000") }()
	syn, answer := next(t, out), next(t, back)
	if !syn.Is(SYN) || syn.fate != Pass || syn.MSS != 1460 || syn.Dest.Port() != 9000 || syn.Length != 0 {
		t.Errorf("first %+v", syn)
	}
	if !answer.Is(SYN|ACK) || answer.fate != Hold || answer.Ack != syn.Seq+1 || answer.Dest != syn.Source {
		t.Errorf("second %+v", answer)
	}
	if l.ToClient.Held() == 0 {
		t.Error("nothing is held")
	}
	select {
	case err := <-connected:
		t.Fatalf("connected without a second segment: %v", err)
	case <-time.After(20 * time.Millisecond): // for the time that a handshake takes
	}
	l.ToClient.Release()
	if err := <-connected; err != nil {
		t.Fatal(err)
	}
	if third := next(t, out); !third.Pure() || third.Ack != answer.Seq+1 {
		t.Errorf("third %+v", third)
	}
	l.ToServer.Rule(func(*Segment) Fate { return Lose })
	var lost net.Conn
	err := l.Client.Do(func() (err error) {
		lost, err = net.DialTimeout("tcp", "198.18.255.1:9000", 50*time.Millisecond)
		return err
	})
	if err == nil {
		lost.Close()
		t.Error("connected, though all segments are lost")
	}
	if l.ToClient.Held()+l.ToServer.Held() != 0 {
		t.Error("something is held still")
	}
}

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

func TestParseSegment(t *testing.T) {
	for _, version := range []byte{4, 6} {
		whole := packetOf(version, []byte{1, 3, 3, 7, 2, 4, 5, 0xb4, 0, 0, 0, 0}, 3)
		// What lies behind the packet's own end is not part of it.
		for _, b := range [][]byte{whole, append(slices.Clone(whole), 1, 2, 3)} {
			s, ok := ParseSegment(b)
			if !ok || s.Source.Port() != 4000 || s.Dest.Port() != 9000 || s.Seq != 7 || s.MSS != 1460 || s.Length != 3 || !s.Is(SYN|ACK) {
				t.Errorf("IPv%d: %+v %v", version, s, ok)
			}
		}
		for n := range whole {
			if _, ok := ParseSegment(whole[:n]); ok {
				t.Errorf("IPv%d: the first %d of %d bytes are a segment", version, n, len(whole))
			}
		}
	}
	udp := packetOf(4, nil, 0)
	udp[9] = 17
	fragment := packetOf(4, nil, 0)
	fragment[7] = 1
	for name, b := range map[string][]byte{"UDP": udp, "a later fragment": fragment, "IPv5": {0x50}} {
		if _, ok := ParseSegment(b); ok {
			t.Errorf("%s is a segment", name)
		}
	}
}

func FuzzParseSegment(f *testing.F) {
	f.Add(packetOf(4, []byte{2, 4, 5, 0xb4}, 2))
	f.Add(packetOf(6, []byte{1, 1, 8, 0}, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, ok := ParseSegment(b); ok && (s.Length < 0 || s.Length > len(b)-40) {
			t.Errorf("%d bytes of payload in a packet of %d", s.Length, len(b))
		}
	})
}

// A segment that is stepped is under way for as long as the link delays it, and the watcher hears
// that it goes on.
func TestStepTakesTheDelay(t *testing.T) {
	t.Parallel()
	const delay = 100 * time.Millisecond
	l := newLab(t, Link{Gated: true, ToClient: parsed(t, "delay="+delay.String())})
	listenIn(t, l.Server, "198.18.255.1:9000")
	back := watched(l.ToClient)
	answer := func(s *Segment) bool { return s.Is(SYN | ACK) }
	l.ToClient.Rule(func(s *Segment) Fate {
		if answer(s) {
			return Hold
		}
		return Pass
	})
	connected := make(chan error, 1)
	go func() { connected <- dialFrom(l.Client, "", "198.18.255.1:9000") }()
	next(t, back)
	began := time.Now()
	if s, ok, err := l.ToClient.Step(answer); !ok || err != nil || !answer(&s) {
		t.Fatal(s, ok, err)
	}
	if took := time.Since(began); took < delay {
		t.Errorf("it came after %v", took)
	}
	if err := <-connected; err != nil {
		t.Fatal(err)
	}
	for p := next(t, back); p.fate != Released || !answer(&p.Segment); p = next(t, back) { // it may have been sent again
	}
	l.ToClient.Release()
}
