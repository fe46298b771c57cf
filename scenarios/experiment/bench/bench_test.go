package bench

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/internal/alone"
	"tcpbench/internal/lab"
	"tcpbench/internal/segment"
	"tcpbench/metrics"
)

func gated(t *testing.T) *lab.Lab {
	t.Helper()
	l, err := lab.New(lab.Link{Gated: true})
	if err != nil {
		alone.Needed(t, err.Error())
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func try(t *testing.T, do func(*Bench)) (*metrics.Experiment, error) {
	t.Helper()
	return Perform(t.Context(), Setup{Name: "test", Promised: []Fact{{Name: "n"}, {Name: "word", Unit: metrics.Text}}, Lab: gated(t)}, do)
}

// A timeout ends the story; what was found out before stands.
func TestTimeout(t *testing.T) {
	r, err := try(t, func(b *Bench) {
		b.Fact("n", 7)
		b.AwaitFor(10*time.Millisecond, "a miracle", func() bool { return false })
		b.Fact("word", "never")
	})
	if err != nil {
		t.Fatal(err)
	}
	last := r.Events[len(r.Events)-1]
	if len(r.Facts) != 1 || r.Facts[0].Value != 7 || last.Kind != metrics.Remark || last.Text != "timed out after 10ms waiting for a miracle" {
		t.Errorf("%+v", r)
	}
}

// If the link fails, the experiment ends with an error that names it, and does not wait on.
func TestBrokenLink(t *testing.T) {
	_, err := try(t, func(b *Bench) {
		b.Check(b.Host(Client).Do(func() error { return alone.Unplug("lab-c") }), "unplug")
		b.Await("the end of the world", func() bool { return false })
	})
	if !errors.Is(err, unix.ENETDOWN) || !strings.Contains(err.Error(), "the lab's link has failed") {
		t.Error(err)
	}
}

// What fails for another reason is an error, and no story.
func TestFailure(t *testing.T) {
	_, err := try(t, func(b *Bench) {
		b.Listen(Port, 1)
		b.Listen(Port, 1)
	})
	if !errors.Is(err, unix.EADDRINUSE) || !strings.HasPrefix(err.Error(), "experiment test: ") {
		t.Errorf("%v", err)
	}
}

func TestInterrupted(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	began := time.Now()
	r, err := Perform(ctx, Setup{Name: "test", Lab: gated(t)}, func(b *Bench) {
		b.Act(Client, "waits")
		stop()
		b.Await("the end of the world", func() bool { return false })
	})
	if err != nil || len(r.Events) != 2 || time.Since(began) > Patience/2 {
		t.Errorf("%+v, %v", r, err)
	}
}

func addr(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 18, 0, 1}), port)
}

func TestSNMP6(t *testing.T) {
	const text = "Ip6InReceives                   \t12\nIp6FragCreates                  \t7\n"
	if n, err := snmp6(text, "Ip6FragCreates"); n != 7 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := snmp6(text, "Ip6Frag"); err == nil {
		t.Error("a counter that is not there was found")
	}
}

// A ladder says that accept() has returned only when it has.
func TestLaddersSayWhatWasSeen(t *testing.T) {
	r, err := try(t, func(b *Bench) {
		l := b.Listen(Port, 8)
		_, accepted := l.Accept()
		b.Saw(Server, accepted, "accept() has returned", "accept() has nothing")
		b.Socket(Client).Connect(Port)
		b.Await("accept()", func() (ok bool) {
			_, ok = l.Accept()
			return ok
		})
		b.Saw(Server, true, "accept() has returned", "accept() has nothing")
	})
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	for _, e := range r.Events {
		if e.Kind == metrics.Act {
			said = append(said, e.Text)
		}
	}
	if want := []string{"accept() has nothing", "accept() has returned"}; !slices.Equal(said, want) {
		t.Errorf("%q, want %q", said, want)
	}
}

// The segments of an end are those of its connection from its first FIN on: neither the last of the
// handshake, which may be told late, nor those of a connection before.
func TestDistinct(t *testing.T) {
	came := func(from Side, client uint16, flags segment.Flags, seq uint32, label string) arrival {
		a := arrival{Segment: segment.Segment{Flags: flags, Seq: seq}, from: from, label: label}
		a.Source, a.Dest = addr(client), addr(Port)
		if from == Server {
			a.Source, a.Dest = a.Dest, a.Source
		}
		return a
	}
	b := &Bench{ends: map[tuple]*End{}, arrived: []arrival{
		came(Client, 1000, segment.ACK, 101, ""), // of the handshake
		came(Client, 1000, segment.FIN|segment.ACK, 101, ""),
		came(Client, 999, segment.ACK, 7, ""), // of the connection before
		came(Client, 1000, segment.FIN|segment.ACK, 101, segment.Retransmission),
		came(Server, 1000, segment.FIN|segment.ACK, 501, ""),
		came(Server, 1000, segment.ACK, 502, segment.DuplicateACK),
		came(Client, 1000, segment.ACK, 102, ""),
	}}
	if n := b.end(Client, addr(1000), addr(Port)).Distinct(FIN); n != 3 {
		t.Errorf("%d segments, want 3", n)
	}
}
