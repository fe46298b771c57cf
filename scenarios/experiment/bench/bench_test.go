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

// What is awaited in vain ends the story, and what was found out before stands.
func TestInVain(t *testing.T) {
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

func TestDescribe(t *testing.T) {
	b := &Bench{trails: map[flow]*trail{{Client, 1000, 2000}: {first: 1<<32 - 1, next: 9}, {Server, 2000, 1000}: {first: 500, next: 501}}}
	for _, tt := range []struct {
		from Side
		s    segment.Segment
		want string
	}{
		{Client, segment.Segment{Seq: 9, Ack: 501, Flags: segment.PSH | segment.ACK, Window: 7, Length: 3}, "PSH+ACK seq 10 ack 1 3 bytes"}, // numbers have wrapped
		{Server, segment.Segment{Seq: 501, Ack: 3, Flags: segment.ACK}, "ACK ack 4 window 0"},
		{Server, segment.Segment{Seq: 500, Ack: 3, Flags: segment.ACK, Window: 7}, "ACK seq 0 ack 4"}, // a probe
		{Client, segment.Segment{Seq: 77, Flags: segment.SYN, Window: 7}, "SYN seq 0"},                // of another connection
	} {
		tt.s.Source, tt.s.Dest = addr(1000), addr(2000)
		if tt.from == Server {
			tt.s.Source, tt.s.Dest = addr(2000), addr(1000)
		}
		if got := b.describe(&tt.s, tt.from); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// A connection's segments, one after the other, with the label that each has.
func TestLabels(t *testing.T) {
	const fin, syn, ack, rst = segment.FIN, segment.SYN, segment.ACK, segment.RST
	for name, segments := range map[string][]struct {
		from Side
		s    segment.Segment
		want string
	}{
		"handshake": {
			{Client, segment.Segment{Flags: syn, Seq: 100}, ""},
			{Client, segment.Segment{Flags: syn, Seq: 100}, retransmission},
			{Server, segment.Segment{Flags: syn | ack, Seq: 500, Ack: 101}, ""},
			{Server, segment.Segment{Flags: syn | ack, Seq: 500, Ack: 101}, retransmission},
			{Client, segment.Segment{Flags: ack, Seq: 101, Ack: 501, Window: 9}, ""},
			{Client, segment.Segment{Flags: ack, Seq: 101, Ack: 501, Window: 9}, duplicateACK},
			{Client, segment.Segment{Flags: ack, Seq: 101, Ack: 501, Window: 9, Length: 10}, ""},
			{Client, segment.Segment{Flags: ack, Seq: 101, Ack: 501, Window: 9, Length: 10}, retransmission},
			{Client, segment.Segment{Flags: fin | ack, Seq: 111, Ack: 501, Window: 9}, ""},
			{Client, segment.Segment{Flags: fin | ack, Seq: 111, Ack: 501, Window: 9}, retransmission},
			{Server, segment.Segment{Flags: rst | ack, Seq: 501, Ack: 112}, ""},
			{Client, segment.Segment{Flags: syn, Seq: 7000}, ""}, // the same ports, another connection
		},
		"simultaneous open": {
			{Client, segment.Segment{Flags: syn, Seq: 100}, ""},
			{Server, segment.Segment{Flags: syn, Seq: 500}, ""},
			{Client, segment.Segment{Flags: syn | ack, Seq: 100, Ack: 501}, ""},
			{Server, segment.Segment{Flags: syn | ack, Seq: 500, Ack: 101}, ""},
			{Client, segment.Segment{Flags: ack, Seq: 101, Ack: 501, Window: 9}, ""},
			{Client, segment.Segment{Flags: syn | ack, Seq: 100, Ack: 501}, retransmission},
		},
		"probes": {
			{Client, segment.Segment{Flags: syn, Seq: 1<<32 - 1}, ""},
			{Server, segment.Segment{Flags: syn | ack, Seq: 500, Ack: 0}, ""},
			{Client, segment.Segment{Flags: ack, Seq: 0, Ack: 501, Window: 9}, ""},
			{Client, segment.Segment{Flags: ack, Seq: 1<<32 - 1, Ack: 501, Window: 9}, keepaliveProbe},
			{Server, segment.Segment{Flags: ack, Seq: 501, Ack: 0, Window: 9}, probeAnswer}, // its first one after the SYN
			{Client, segment.Segment{Flags: ack, Seq: 1<<32 - 1, Ack: 501, Window: 9}, keepaliveProbe},
			{Server, segment.Segment{Flags: ack, Seq: 501, Ack: 0, Window: 9}, probeAnswer},
			{Client, segment.Segment{Flags: ack, Seq: 1<<32 - 1, Ack: 501, Window: 9, Length: 1}, keepaliveProbe}, // as BSD had it
			{Client, segment.Segment{Flags: ack, Seq: 0, Ack: 501, Window: 9, Length: 5}, ""},
			{Server, segment.Segment{Flags: ack, Seq: 501, Ack: 5}, ""}, // and the window is closed
			{Client, segment.Segment{Flags: ack, Seq: 4, Ack: 501, Window: 9}, windowProbe},
			{Server, segment.Segment{Flags: ack, Seq: 501, Ack: 5}, probeAnswer},
			{Server, segment.Segment{Flags: ack, Seq: 501, Ack: 5, Window: 9}, windowUpdate},
		},
	} {
		trails := [2]*trail{}
		for i, tt := range segments {
			got := trails[tt.from].label(&tt.s, trails[tt.from.Other()])
			if got != tt.want {
				t.Errorf("%s, segment %d: %q, want %q", name, i, got, tt.want)
			}
			trails[tt.from] = trails[tt.from].goOn(&tt.s, got)
		}
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
		came(Client, 1000, segment.FIN|segment.ACK, 101, retransmission),
		came(Server, 1000, segment.FIN|segment.ACK, 501, ""),
		came(Server, 1000, segment.ACK, 502, duplicateACK),
		came(Client, 1000, segment.ACK, 102, ""),
	}}
	if n := b.end(Client, addr(1000), addr(Port)).Distinct(FIN); n != 3 {
		t.Errorf("%d segments, want 3", n)
	}
}
