package stage

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"tcpbench/internal/agent"
	"tcpbench/internal/kernel"
	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
	"tcpbench/metrics"
	"tcpbench/server"
)

// everything is all that a stage and its agents send each other, with every field set to something
// that a careless encoding would lose.
func everything(t *testing.T) []any {
	linger := 0
	recorder := metrics.NewCoarseRecorder(1000)
	recorder.Record(123456)
	recorder.Record(math.MaxInt64) // clamped
	h, err := recorder.Export()
	if err != nil {
		t.Fatal(err)
	}
	addrs := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort("[fe80::1%lo]:65535")}
	return []any{
		loadgen.Config{
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
				Exchanges: 1, Again: []byte("\x00"), Gap: 2, Jitter: 0.5, Pipeline: true, Stay: 3, StayToEnd: true,
				Beat:     &loadgen.Heartbeat{Every: 1, Missed: 2, Design: loadgen.ServerPings, Aligned: true},
				Hello:    &loadgen.Greeting{Request: []byte("\xff"), Response: loadgen.Until{Kind: loadgen.AtLeast, Bytes: 1, Pattern: "x"}},
				Rotation: []loadgen.Template{{Text: []byte("\x00"), Fields: []loadgen.Field{{Kind: "n", At: 1, Width: 2}}}},
			},
		},
		server.Config{
			Addrs: addrs, Loops: 3, Backlog: 4, Linger: &linger, Echo: true, HeaderTimeout: time.Hour,
			MaxRequest: math.MaxUint32, MaxResponse: 1, Reserve: 5, Room: 6,
			Bounds:  server.Bounds{Connections: 1, Rate: 2, Bytes: 3, Life: 4},
			Options: server.Options{KeepAlive: 1, KeepInterval: 2, KeepProbes: 3, UserTimeout: 4, DeferAccept: 5, FastOpen: true, MPTCP: true},
		},
		watch{Of: Both, Watch: kernel.Watch{Servers: addrs, RangeSize: 1, IPv4: true}},
		clientEvent{Period: loadgen.WarmingUp, Over: time.Unix(1, 2).UTC(), Interval: &metrics.Interval{Index: 1, EndNS: 2, Attempted: 3, Succeeded: 4, Failed: 5, InFlight: 6, Calls: metrics.Calls{Made: 7, NS: 8, Exhausted: 9}, Connect: h}},
		ServerUsage{Server: &metrics.ServerReport{Accepted: math.MaxUint64, Open: 1, Exchanges: 2, Closed: map[string]uint64{"completed": 3},
			Beats: &metrics.Beats{Sent: 4, Answered: 5, Missed: 6}, WarmUp: &metrics.WarmUp{Accepted: 7, Open: 8}},
			Histograms: map[string]metrics.Histogram{metrics.ServerDetect: h}},
		metrics.ClientReport{
			Tally:  metrics.Tally{Attempted: 6, Succeeded: 1, Failed: map[string]uint64{"connect.refused": 2}, Open: 3, Missed: 4, CheckedBytes: 5},
			InTime: 1, EndedInTime: 2, ElapsedNS: 3, SYNs: 4, Established: 5, ExhaustedNS: 6, Stopped: "interrupted <&>",
			Histograms: map[string]metrics.Histogram{metrics.Connect: h}, Loops: []metrics.LoopReport{{BusyNS: 1, CPUNS: 2, Turns: 3}},
			UserNS: 7, SystemNS: 8, MaxRSS: 9, RampNS: 10, Held: 11, Hold: metrics.HoldReport{Opened: 1, NS: 2, Beats: metrics.Beats{Sent: 3, Answered: 4, Missed: 5}, RampCPUNS: 4, CPUNS: 5}, Beats: metrics.Beats{Sent: 1, Answered: 2, Missed: 3},
			Exhaustion: &metrics.Exhaustion{AtNS: 1, Source: "127.0.0.1", Target: "127.0.0.2:3", Ports: 4, TimeWait: 5, InUse: 6},
			TCP:        metrics.TCPSample{Established: 1, SYNRetransmits: 2, Closed: 3, Retransmits: 4, Retransmitted: 5, MSS: 6, NoticedNS: 7},
			Said:       &metrics.Said{Texts: []metrics.SaidText{{Failure: "exchange.reset", Text: `\x00`, Count: 1}}, Others: 2},
			MPTCP:      metrics.MPTCP{Spoken: 1, Fallbacks: 2},
			Bursts:     []metrics.Burst{{Due: 1, First: 2, Last: 3, Count: 4}},
		},
	}
}

// What the stage and its agents tell each other arrives as it was sent, every field of it.
func TestEveryFieldArrives(t *testing.T) {
	seen := map[string]bool{}
	for _, want := range everything(t) {
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got := reflect.New(reflect.TypeOf(want))
		if err := json.Unmarshal(text, got.Interface()); err != nil || !reflect.DeepEqual(got.Elem().Interface(), want) {
			t.Errorf("received %+v, %v, want %+v", got.Elem(), err, want)
		}
		cover(reflect.ValueOf(want), reflect.TypeOf(want).Name(), seen)
	}
	for path, set := range seen {
		if !set && path != "ServerUsage.Usage" && !strings.HasPrefix(path, "ServerUsage.Usage.") && path != "watch.Watch.Budget" {
			t.Errorf("%s is zero in everything", path)
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

// begin starts a role in this process, and hears what it says.
func begin(t *testing.T, role string, spec, ready any) (*agent.Remote, <-chan saying) {
	t.Helper()
	said := make(chan saying, 1000)
	r, err := agent.New(agent.Memory{Roles: Roles()}, role, spec, ready, func(m agent.Message, err error) { said <- saying{m, 0, err} })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r, said
}

// hear waits for a period, or for the report if there is none.
func hear(t *testing.T, said <-chan saying, period loadgen.Period) (report metrics.ClientReport) {
	t.Helper()
	for m := range said {
		var e clientEvent
		switch {
		case m.err != nil:
			t.Fatal(m.err)
		case m.Type == agent.Done:
			if err := m.Into(&report); err != nil || period != "" {
				t.Fatalf("done before %q, %v", period, err)
			}
			return report
		case m.Into(&e) == nil && period != "" && e.Period == period:
			return report
		}
	}
	return report
}

// Both sides count the same, the server from the end of the warm-up on, whenever that is.
func TestClientAndServer(t *testing.T) {
	for name, at := range map[string]func() time.Time{
		"now":   func() time.Time { return time.Time{} },
		"later": func() time.Time { return time.Now().Add(20 * time.Millisecond) },
	} {
		t.Run(name, func(t *testing.T) {
			var addrs []netip.AddrPort
			s, _ := begin(t, serverRole, own(), &addrs)
			await := func(what string, yes func(*metrics.ServerReport) bool) *metrics.ServerReport {
				t.Helper()
				for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
					u, err := SampleServer(s, patience)
					if err != nil || time.Now().After(deadline) {
						t.Fatalf("no %s: %+v, %v", what, u.Server, err)
					}
					if yes(u.Server) {
						return u.Server
					}
				}
			}
			early, err := net.Dial("tcp", addrs[0].String())
			if err != nil {
				t.Fatal(err)
			}
			defer early.Close()
			await("first connection", func(r *metrics.ServerReport) bool { return r.Accepted == 1 && r.WarmUp == nil })
			if err := s.Start(at()); err != nil {
				t.Fatal(err)
			}
			await("end of the warm-up", func(r *metrics.ServerReport) bool {
				return r.Accepted == 0 && r.WarmUp != nil && *r.WarmUp == metrics.WarmUp{Accepted: 1, Open: 1}
			})
			plan := endless()
			plan.Client.Targets, plan.Client.Count, plan.Client.Duration = addrs, 40, 0
			c, said := begin(t, clientRole, plan.Client, nil)
			if err := c.Start(time.Now()); err != nil {
				t.Fatal(err)
			}
			hear(t, said, loadgen.Measuring)
			hear(t, said, loadgen.Draining)
			if report := hear(t, said, ""); report.Attempted != 40 || report.Succeeded != 40 {
				t.Errorf("%+v, want 40 of all", report.Tally)
			}
			early.Close()
			r := await("end of all", func(r *metrics.ServerReport) bool { return r.Open == 0 })
			if r.Accepted != 40 || r.Closed["completed"] != 40 || r.Closed["unused"] != 1 || r.Balance() != nil {
				t.Errorf("%+v after %+v", r, r.WarmUp)
			}
			if err := errors.Join(s.Stop(), s.Await(time.Minute)); err != nil {
				t.Error(err)
			}
		})
	}
}

// Stop ends a client in the middle, and the report is of what it has done; so does a client that
// was not started, with none.
func TestStopAClient(t *testing.T) {
	var addrs []netip.AddrPort
	_, _ = begin(t, serverRole, own(), &addrs)
	plan := endless()
	plan.Client.Targets = addrs
	c, said := begin(t, clientRole, plan.Client, nil)
	if err := c.Start(time.Time{}); err != nil {
		t.Fatal(err)
	}
	hear(t, said, loadgen.Measuring)
	if u, err := c.Sample(patience, nil); err != nil || u.MaxRSS == 0 {
		t.Errorf("%+v, %v", u, err)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if r := hear(t, said, ""); r.Stopped == "" || r.Balance() != nil {
		t.Errorf("stopped %q, %v", r.Stopped, r.Balance())
	}
	c, _ = begin(t, clientRole, plan.Client, nil)
	if err := errors.Join(c.Stop(), c.Await(time.Minute)); err != nil {
		t.Error(err)
	}
}

// A role that cannot do what it is told says why.
func TestRolesRefuse(t *testing.T) {
	occupied, aimless := own(), endless().Client
	occupied.Addrs = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:0")} // of no host
	if _, _, err := StartServer(agent.Memory{Roles: Roles()}, occupied); err == nil || !strings.HasPrefix(err.Error(), "server: listen on 192.0.2.1:0: ") {
		t.Error(err)
	}
	for _, tt := range []struct {
		do   func(*agent.Remote) error
		want string
	}{
		{func(r *agent.Remote) error { return r.Start(time.Time{}) }, "client: load: no target"},
		{func(r *agent.Remote) error { return r.Tell("dance") }, `client: a client does not know the word "dance"`},
		{func(r *agent.Remote) error { return r.Tell(wordHold) }, "client: a client was told to hold a population that is not there"},
	} {
		c, said := begin(t, clientRole, aimless, nil)
		if err := tt.do(c); err != nil {
			t.Fatal(err)
		}
		if m := <-said; m.err == nil || !strings.HasPrefix(fmt.Sprint(m.err), tt.want) {
			t.Errorf("%v, want %q", m.err, tt.want)
		}
	}
}
