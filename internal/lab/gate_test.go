package lab

import (
	"net"
	"tcpbench/internal/segment"
	"testing"
	"time"
)

// passing is what a gate's watcher was told.
type passing struct {
	segment.Segment
	fate Fate
}

func watched(g *Gate) <-chan passing {
	seen := make(chan passing, 100)
	g.Watch(func(s *segment.Segment, f Fate) { seen <- passing{*s, f} })
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
	l.ToClient.Rule(func(s *segment.Segment) Fate {
		if s.Is(segment.SYN | segment.ACK) {
			return Hold
		}
		return Pass
	})
	connected := make(chan error, 1)
	go func() { connected <- dialFrom(l.Client, "", "198.18.255.1:9000") }()
	syn, answer := next(t, out), next(t, back)
	if !syn.Is(segment.SYN) || syn.fate != Pass || syn.MSS != 1460 || syn.Dest.Port() != 9000 || syn.Length != 0 {
		t.Errorf("first %+v", syn)
	}
	if !answer.Is(segment.SYN|segment.ACK) || answer.fate != Hold || answer.Ack != syn.Seq+1 || answer.Dest != syn.Source {
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
	l.ToServer.Rule(func(*segment.Segment) Fate { return Lose })
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

// A segment that is stepped is under way for as long as the link delays it, and the watcher hears
// that it goes on.
func TestStepTakesTheDelay(t *testing.T) {
	t.Parallel()
	const delay = 100 * time.Millisecond
	l := newLab(t, Link{Gated: true, ToClient: parsed(t, "delay="+delay.String())})
	listenIn(t, l.Server, "198.18.255.1:9000")
	back := watched(l.ToClient)
	answer := func(s *segment.Segment) bool { return s.Is(segment.SYN | segment.ACK) }
	l.ToClient.Rule(func(s *segment.Segment) Fate {
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
