package experiment

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

// A name means the same wherever it stands, for a verdict does not say whose fact it reads.
func TestFactsMeanOneThing(t *testing.T) {
	units := map[string]string{}
	for _, e := range all {
		names := map[string]bool{}
		for i, f := range slices.Concat(e.Facts, e.LoopbackFacts()) {
			if i == len(e.Facts) {
				clear(names) // the same may be found out in either place
			}
			if names[f.Name] || f.Means == "" || strings.ContainsAny(f.Name, ". -") {
				t.Errorf("%s: %+v", e.Name, f)
			}
			names[f.Name] = true
			if unit, ok := units[f.Name]; ok && unit != f.Unit {
				t.Errorf("%s is of the unit %q in %s, and of %q elsewhere", f.Name, f.Unit, e.Name, unit)
			}
			units[f.Name] = f.Unit
		}
	}
	if len(FactNames()) != len(units) {
		t.Errorf("%d names, %d facts", len(FactNames()), len(units))
	}
}

func gated(t *testing.T) *lab.Lab {
	t.Helper()
	l, err := lab.New(lab.Link{Gated: true})
	if err != nil {
		alone.Needed(t, err.Error())
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func try(t *testing.T, do func(*bench)) (*metrics.Experiment, error) {
	t.Helper()
	e := &Experiment{Name: "test", Facts: []Fact{{"n", Number, "a number"}, {"word", Text, "a word"}}, do: do}
	return e.Run(t.Context(), gated(t), nil)
}

// What is awaited in vain ends the story, and what was found out before stands.
func TestInVain(t *testing.T) {
	r, err := try(t, func(b *bench) {
		b.fact("n", 7)
		b.awaitFor(10*time.Millisecond, "a miracle", func() bool { return false })
		b.said("word", "never")
	})
	if err != nil {
		t.Fatal(err)
	}
	last := r.Events[len(r.Events)-1]
	if len(r.Facts) != 1 || r.Facts[0].Value != 7 || last.Kind != metrics.Remark || last.Text != "waited in vain for 10ms: a miracle" {
		t.Errorf("%+v", r)
	}
}

// If the link fails, the experiment ends with an error that names it, and does not wait on.
func TestBrokenLink(t *testing.T) {
	_, err := try(t, func(b *bench) {
		b.check(b.host(client).Do(func() error { return alone.Unplug("lab-c") }), "unplug")
		b.await("the end of the world", func() bool { return false })
	})
	if !errors.Is(err, unix.ENETDOWN) || !strings.Contains(err.Error(), "the lab's link has failed") {
		t.Error(err)
	}
}

// What fails for another reason is an error, and no story.
func TestFailure(t *testing.T) {
	_, err := try(t, func(b *bench) {
		b.listen(port, 1)
		b.listen(port, 1)
	})
	if !errors.Is(err, unix.EADDRINUSE) || !strings.HasPrefix(err.Error(), "experiment test: ") {
		t.Errorf("%v", err)
	}
}

func TestInterrupted(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	e := &Experiment{Name: "test", do: func(b *bench) {
		b.act(client, "waits")
		stop()
		b.await("the end of the world", func() bool { return false })
	}}
	began := time.Now()
	r, err := e.Run(ctx, gated(t), nil)
	if err != nil || len(r.Events) != 2 || time.Since(began) > patience/2 {
		t.Errorf("%+v, %v", r, err)
	}
}

// Every connection and listener of an experiment is gone with it, and its segments are in order.
func TestNothingStaysBehind(t *testing.T) {
	l := gated(t)
	var told []metrics.Event
	r, err := fourWayClose.Run(t.Context(), l, func(e metrics.Event) { told = append(told, e) })
	if err != nil {
		t.Fatal(err)
	}
	if len(told) != len(r.Events) {
		t.Errorf("told of %d events, %d happened", len(told), len(r.Events))
	}
	if !slices.IsSortedFunc(r.Events, func(x, y metrics.Event) int { return int((x.T - y.T) * 1e9) }) {
		t.Error("the events are not in order")
	}
	// The port is free: another experiment in the same lab may listen there.
	if _, err := handshake.Run(t.Context(), l, nil); err != nil {
		t.Error(err)
	}
	if l.ToServer.Held()+l.ToClient.Held() > 0 {
		t.Error("segments are held still")
	}
}

func TestDescribe(t *testing.T) {
	b := &bench{trails: map[flow]*trail{{client, 1000, 2000}: {first: 1<<32 - 1, next: 9}, {server, 2000, 1000}: {first: 500, next: 501}}}
	for _, tt := range []struct {
		from side
		s    segment.Segment
		want string
	}{
		{client, segment.Segment{Seq: 9, Ack: 501, Flags: segment.PSH | segment.ACK, Window: 7, Length: 3}, "PSH+ACK seq 10 ack 1 3 bytes"}, // numbers have wrapped
		{server, segment.Segment{Seq: 501, Ack: 3, Flags: segment.ACK}, "ACK ack 4 window 0"},
		{server, segment.Segment{Seq: 500, Ack: 3, Flags: segment.ACK, Window: 7}, "ACK seq 0 ack 4"}, // a probe
		{client, segment.Segment{Seq: 77, Flags: segment.SYN, Window: 7}, "SYN seq 0"},                // of another connection
	} {
		tt.s.Source, tt.s.Dest = addr(1000), addr(2000)
		if tt.from == server {
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
		from side
		s    segment.Segment
		want string
	}{
		"handshake": {
			{client, segment.Segment{Flags: syn, Seq: 100}, ""},
			{client, segment.Segment{Flags: syn, Seq: 100}, retransmission},
			{server, segment.Segment{Flags: syn | ack, Seq: 500, Ack: 101}, ""},
			{server, segment.Segment{Flags: syn | ack, Seq: 500, Ack: 101}, retransmission},
			{client, segment.Segment{Flags: ack, Seq: 101, Ack: 501, Window: 9}, ""},
			{client, segment.Segment{Flags: ack, Seq: 101, Ack: 501, Window: 9}, duplicateACK},
			{client, segment.Segment{Flags: ack, Seq: 101, Ack: 501, Window: 9, Length: 10}, ""},
			{client, segment.Segment{Flags: ack, Seq: 101, Ack: 501, Window: 9, Length: 10}, retransmission},
			{client, segment.Segment{Flags: fin | ack, Seq: 111, Ack: 501, Window: 9}, ""},
			{client, segment.Segment{Flags: fin | ack, Seq: 111, Ack: 501, Window: 9}, retransmission},
			{server, segment.Segment{Flags: rst | ack, Seq: 501, Ack: 112}, ""},
			{client, segment.Segment{Flags: syn, Seq: 7000}, ""}, // the same ports, another connection
		},
		"simultaneous open": {
			{client, segment.Segment{Flags: syn, Seq: 100}, ""},
			{server, segment.Segment{Flags: syn, Seq: 500}, ""},
			{client, segment.Segment{Flags: syn | ack, Seq: 100, Ack: 501}, ""},
			{server, segment.Segment{Flags: syn | ack, Seq: 500, Ack: 101}, ""},
			{client, segment.Segment{Flags: ack, Seq: 101, Ack: 501, Window: 9}, ""},
			{client, segment.Segment{Flags: syn | ack, Seq: 100, Ack: 501}, retransmission},
		},
		"probes": {
			{client, segment.Segment{Flags: syn, Seq: 1<<32 - 1}, ""},
			{server, segment.Segment{Flags: syn | ack, Seq: 500, Ack: 0}, ""},
			{client, segment.Segment{Flags: ack, Seq: 0, Ack: 501, Window: 9}, ""},
			{client, segment.Segment{Flags: ack, Seq: 1<<32 - 1, Ack: 501, Window: 9}, keepaliveProbe},
			{server, segment.Segment{Flags: ack, Seq: 501, Ack: 0, Window: 9}, probeAnswer}, // its first one after the SYN
			{client, segment.Segment{Flags: ack, Seq: 1<<32 - 1, Ack: 501, Window: 9}, keepaliveProbe},
			{server, segment.Segment{Flags: ack, Seq: 501, Ack: 0, Window: 9}, probeAnswer},
			{client, segment.Segment{Flags: ack, Seq: 1<<32 - 1, Ack: 501, Window: 9, Length: 1}, keepaliveProbe}, // as BSD had it
			{client, segment.Segment{Flags: ack, Seq: 0, Ack: 501, Window: 9, Length: 5}, ""},
			{server, segment.Segment{Flags: ack, Seq: 501, Ack: 5}, ""}, // and the window is closed
			{client, segment.Segment{Flags: ack, Seq: 4, Ack: 501, Window: 9}, windowProbe},
			{server, segment.Segment{Flags: ack, Seq: 501, Ack: 5}, probeAnswer},
			{server, segment.Segment{Flags: ack, Seq: 501, Ack: 5, Window: 9}, windowUpdate},
		},
	} {
		trails := [2]*trail{}
		for i, tt := range segments {
			got := trails[tt.from].label(&tt.s, trails[tt.from.other()])
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
	if n, err := snmp6([]byte(text), "Ip6FragCreates"); n != 7 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := snmp6([]byte(text), "Ip6Frag"); err == nil {
		t.Error("a counter that is not there was found")
	}
}

// A ladder says that accept() has returned only when it has.
func TestLaddersSayWhatWasSeen(t *testing.T) {
	r, err := try(t, func(b *bench) {
		l := b.listen(port, 8)
		_, accepted := l.accept()
		b.saw(server, accepted, "accept() has returned", "accept() has nothing")
		b.check(b.socket(client).connect(port), "connect")
		b.await("accept()", func() (ok bool) {
			_, ok = l.accept()
			return ok
		})
		b.saw(server, true, "accept() has returned", "accept() has nothing")
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
	came := func(from side, client uint16, flags segment.Flags, seq uint32, label string) arrival {
		a := arrival{Segment: segment.Segment{Flags: flags, Seq: seq}, from: from, label: label}
		a.Source, a.Dest = addr(client), addr(port)
		if from == server {
			a.Source, a.Dest = a.Dest, a.Source
		}
		return a
	}
	b := &bench{log: []arrival{
		came(client, 1000, segment.ACK, 101, ""), // of the handshake
		came(client, 1000, segment.FIN|segment.ACK, 101, ""),
		came(client, 999, segment.ACK, 7, ""), // of the connection before
		came(client, 1000, segment.FIN|segment.ACK, 101, retransmission),
		came(server, 1000, segment.FIN|segment.ACK, 501, ""),
		came(server, 1000, segment.ACK, 502, duplicateACK),
		came(client, 1000, segment.ACK, 102, ""),
	}}
	if n := b.distinct(1000, fin); n != 3 {
		t.Errorf("%d segments, want 3", n)
	}
}
