package agent

import (
	"bytes"
	"io"
	"math"
	"net/netip"
	"reflect"
	"regexp"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
	"tcpbench/metrics"
	"tcpbench/server"
)

func matches(err error, pattern string) bool {
	return err != nil && regexp.MustCompile(pattern).MatchString(err.Error())
}

// full is one message of every type, with every field of its own set to something that a
// careless encoding would lose.
func full() []Message {
	linger := 0
	recorder := metrics.NewCoarseRecorder(1000)
	recorder.Record(123456)
	recorder.Record(math.MaxInt64) // clamped
	h, err := recorder.Export()
	if err != nil {
		panic(err)
	}
	addrs := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort("[fe80::1%lo]:65535")}
	usage := &Usage{UserNS: math.MaxInt64, SystemNS: 1, MaxRSS: math.MaxUint64}
	served := *usage
	served.Server = &metrics.ServerReport{Accepted: math.MaxUint64, Open: 1, Exchanges: 2, Closed: map[string]uint64{"completed": 3},
		Beats: &metrics.Beats{Sent: 4, Answered: 5, Missed: 6}, WarmUp: &metrics.WarmUp{Accepted: 7, Open: 8}}
	served.Histograms = map[string]metrics.Histogram{metrics.ServerDetect: h}
	return []Message{
		{Type: Prepare, Client: &loadgen.Config{
			Targets: addrs, Sources: pace.Sources{netip.MustParseAddr("::1")}, Process: pace.Poisson,
			Connections: 1, Profile: pace.Profile{{From: 2500, To: 5000, For: 1}, {From: 1, To: 1}}, Seed: math.MaxUint64,
			Burst: 1, Every: 2, Replace: true, HoldFor: 3, OpenRate: 4, ExchangeRate: 5, CloseRate: 6, Part: 7, Parts: 8,
			Loops: 2, Warmup: 1, Duration: math.MaxInt64, Count: math.MaxUint64,
			Options: loadgen.Options{
				NoDelay: true, QuickAck: true, FastOpen: true, MPTCP: true, ReuseAddr: true, TakePort: true, PortRange: [2]int{1, 2},
				FixedPorts: true, SYNCount: 3, TOS: 4, Congestion: "reno", KeepAlive: 5, KeepInterval: 6, KeepProbes: 7, UserTimeout: 8, FinTimeout: 9,
			},
			Timeout: time.Second, OnExhausted: loadgen.WaitExhausted,
			Lifecycle: loadgen.Lifecycle{
				Request: []byte("\x00\xff\r\n<&>\u2028"), Response: loadgen.Until{Kind: loadgen.Match, Pattern: `\+(PONG|<&>)\r\n`, Bytes: 1},
				Pattern: true, ConnectOnly: true, CloseBy: wire.Server, CloseHow: wire.RST, CloseWait: true,
				Exchanges: 1, Again: []byte("\x00"), Gap: 2, Jitter: 0.5, Pipeline: true, Hold: 3, Keep: true,
				Beat:     &loadgen.Heartbeat{Every: 1, Missed: 2, Design: loadgen.ServerPings, Aligned: true},
				Hello:    &loadgen.Greeting{Request: []byte("\xff"), Response: loadgen.Until{Kind: loadgen.AtLeast, Bytes: 1, Pattern: "x"}},
				Rotation: []loadgen.Template{{Text: []byte("\x00"), Fields: []loadgen.Field{{Kind: "n", At: 1, Width: 2}}}},
			},
		}},
		{Type: Prepare, Server: &server.Config{
			Addrs: addrs, Loops: 3, Backlog: 4, Linger: &linger, Echo: true, HeaderTimeout: time.Hour,
			MaxRequest: math.MaxUint32, MaxResponse: 1, Reserve: 5, Room: 6,
			Bounds:  server.Bounds{Connections: 1, Rate: 2, Bytes: 3, Life: 4},
			Options: server.Options{KeepAlive: 1, KeepInterval: 2, KeepProbes: 3, UserTimeout: 4, DeferAccept: 5, FastOpen: true, MPTCP: true},
		}},
		{Type: Start},
		{Type: Begin},
		{Type: Sample},
		{Type: Mark, At: time.Unix(1, 2).UTC()},
		{Type: Stop},
		{Type: Ready, Addrs: addrs},
		{Type: Phase, Phase: loadgen.Draining},
		{Type: Interval, Interval: &metrics.Interval{Index: 1, EndNS: 2, Attempted: 3, Succeeded: 4, Failed: 5, InFlight: 6, Calls: metrics.Calls{Made: 7, NS: 8, Exhausted: 9}, Connect: h}},
		{Type: Sampled, Usage: usage},
		{Type: Sampled, Usage: &served},
		{Type: Done, Report: &metrics.ClientReport{
			Tally:  metrics.Tally{Attempted: 6, Succeeded: 1, Failed: map[string]uint64{"connect.refused": 2}, Open: 3, Missed: 4, CheckedBytes: 5},
			InTime: 1, EndedInTime: 2, ElapsedNS: 3, SYNs: 4, Established: 5, ExhaustedNS: 6, Stopped: "interrupted <&>",
			Histograms: map[string]metrics.Histogram{metrics.Connect: h}, Loops: []metrics.LoopReport{{BusyNS: 1, CPUNS: 2, Turns: 3}},
			UserNS: 7, SystemNS: 8, MaxRSS: 9, RampNS: 10, Held: 11, Hold: metrics.HoldReport{Opened: 1, NS: 2, Beats: metrics.Beats{Sent: 3, Answered: 4, Missed: 5}, RampCPUNS: 4, CPUNS: 5}, Beats: metrics.Beats{Sent: 1, Answered: 2, Missed: 3},
			Exhaustion: &metrics.Exhaustion{AtNS: 1, Source: "127.0.0.1", Target: "127.0.0.2:3", Ports: 4, TimeWait: 5, InUse: 6},
			TCP:        metrics.TCPSample{Established: 1, SYNRetransmits: 2, Closed: 3, Retransmits: 4, Retransmitted: 5, MSS: 6, NoticedNS: 7},
			Said:       &metrics.Said{Texts: []metrics.SaidText{{Failure: "exchange.reset", Text: `\x00`, Count: 1}}, Others: 2},
			MPTCP:      metrics.MPTCP{Spoken: 1, Fallbacks: 2},
			Bursts:     []metrics.Burst{{Due: 1, First: 2, Last: 3, Count: 4}},
		}},
		{Type: Failed, Error: "first line\nsecond \"line\" \x1b"},
	}
}

// What one side sends the other receives, however the bytes are cut.
func TestRoundTrip(t *testing.T) {
	cuts := map[string]func(io.Reader) io.Reader{
		"whole":       func(r io.Reader) io.Reader { return r },
		"one byte":    iotest.OneByteReader,
		"halves":      iotest.HalfReader,
		"end at once": iotest.DataErrReader,
	}
	for name, cut := range cuts {
		var stream bytes.Buffer
		sender := NewConn(&stream)
		for _, m := range full() {
			if err := sender.Send(m); err != nil {
				t.Fatal(err)
			}
		}
		receiver := NewConn(struct {
			io.Reader
			io.Writer
		}{cut(&stream), io.Discard})
		for _, want := range full() {
			got, err := receiver.Receive()
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: received %+v, %v, want %+v", name, got, err, want)
			}
		}
		if _, err := receiver.Receive(); err != io.EOF {
			t.Errorf("%s: behind the last message: %v, want io.EOF", name, err)
		}
	}
}

// The test above is worth what full holds: no field of a message may be missing in it.
func TestRoundTripCoversEveryField(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range full() {
		cover(reflect.ValueOf(m), "Message", seen)
	}
	for path, set := range seen {
		if !set {
			t.Errorf("%s is zero in all messages of full", path)
		}
	}
}

// cover notes which fields of structs of this module are set somewhere.
func cover(v reflect.Value, path string, seen map[string]bool) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			cover(v.Elem(), path, seen)
		}
	case reflect.Slice:
		for i := range v.Len() {
			cover(v.Index(i), path, seen)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			cover(v.MapIndex(key), path, seen)
		}
	case reflect.Struct:
		for f, field := range v.Fields() {
			if !f.IsExported() {
				continue
			}
			name := path + "." + f.Name
			// A pointer to zero is set: that it is there says something.
			seen[name] = seen[name] || !field.IsZero()
			cover(field, name, seen)
		}
	}
}

// Send may be called by several goroutines: no message is torn.
func TestSendIsAtomic(t *testing.T) {
	r, w := io.Pipe()
	sender := NewConn(struct {
		io.Reader
		io.Writer
	}{nil, w})
	addrs := full()[0].Client.Targets
	const senders, each = 8, 50
	var sending sync.WaitGroup
	for range senders {
		sending.Go(func() {
			for range each {
				if err := sender.Send(Message{Type: Ready, Addrs: addrs}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	go func() {
		sending.Wait()
		w.Close()
	}()
	receiver := NewConn(struct {
		io.Reader
		io.Writer
	}{r, nil})
	n := 0
	for ; ; n++ {
		m, err := receiver.Receive()
		if err == io.EOF {
			break
		}
		if err != nil || m.Type != Ready {
			t.Fatalf("message %d: %+v, %v", n, m, err)
		}
	}
	if n != senders*each {
		t.Errorf("%d messages came of %d", n, senders*each)
	}
}

// Whatever comes over the socket: an error or a message on which its receiver can rely,
// an end in the end, and no panic.
func FuzzReceive(f *testing.F) {
	for _, m := range full() {
		var b bytes.Buffer
		if err := NewConn(&b).Send(m); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
		f.Add(b.Bytes()[:b.Len()/2])
		f.Add(append(b.Bytes(), b.Bytes()...))
	}
	for _, text := range []string{
		"", "\n", "{}", "null", "[]", "0", `"ready"`, "}{", "\x00\xff", `{"type":7}`, `{"type":"dance"}`, `{"type":"done","report":null}`,
		`{"type":"ready","addrs":["x"]}`, `{"type":"sampled","usage":{"user_ns":1e99}}`, `{"type":"phase","phase":"`,
		`{"type":"prepare","client":{"lifecycle":{"close_by":"nobody"}}}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		c := NewConn(bytes.NewBuffer(stream))
		for range len(stream) + 1 {
			m, err := c.Receive()
			if err != nil {
				if err != io.EOF && !matches(err, "^receive: ") {
					t.Fatalf("error %q does not say where it comes from", err)
				}
				return
			}
			switch m.Type {
			case Prepare:
				if m.Client == nil && m.Server == nil {
					t.Fatal("prepare without a configuration")
				}
			case Interval:
				_ = m.Interval.Index
			case Sampled:
				_ = m.Usage.UserNS
			case Done:
				_ = m.Report.Attempted
			}
			again(t, m)
		}
		t.Fatal("more messages than bytes")
	})
}

// again checks that a message that was received can be sent, and comes as the same.
func again(t *testing.T, m Message) {
	var first, second bytes.Buffer
	if err := NewConn(&first).Send(m); err != nil {
		return // a value that cannot be written, as an address without a form
	}
	text := first.String()
	m, err := NewConn(&first).Receive()
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if err := NewConn(&second).Send(m); err != nil || second.String() != text {
		t.Fatalf("sent again it is %s, first it was %s", second.String(), text)
	}
}
