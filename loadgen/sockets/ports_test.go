package sockets

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tcpbench/internal/alone"
	"tcpbench/internal/kernel"
	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
	"tcpbench/metrics"
)

// A thousand ports, whose TIME_WAIT neither a new connection nor a RST (RFC 1337) ends early.
var thousandPorts = []string{
	"net.ipv4.ip_local_port_range=20000 20999", "net.ipv4.tcp_tw_reuse=0", "net.ipv4.tcp_rfc1337=1",
}

const portsExhausted = "connect.ports_exhausted"

// counters reads this process's namespace.
func counters(t testing.TB) kernel.Counters {
	t.Helper()
	c, err := kernel.ReadCounters()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func timeWaits(t testing.TB) int64 {
	t.Helper()
	s, err := kernel.Sockstat()
	if err != nil {
		t.Fatal(err)
	}
	return s.TimeWait
}

// A client that closes by FIN keeps each port for the minute of its TIME_WAIT. Each of the thousand is
// used once, and further attempts fail. There are few of those, because a search of all ports takes
// milliseconds.
func TestPortsExhausted(t *testing.T) {
	if !alone.Namespace(t, thousandPorts...) {
		return
	}
	watchLeaks(t)
	type space struct{ target, sources string }
	spaces := []space{{"127.0.0.1:9000", ""}, {"127.0.0.1:9001", "127.0.0.1"}}
	if alone.IPv6(t) {
		spaces = append(spaces, space{"[::1]:9002", ""}, space{"[::1]:9003", "::1"})
	}
	for _, c := range spaces {
		before, waits := counters(t), timeWaits(t)
		cfg := loadgen.Config{
			Targets: to(serve(t, c.target, echoes).addr), Connections: 8, Loops: 2, Duration: time.Second,
			Lifecycle: echo(1, wire.Client, wire.FIN),
		}
		if c.sources != "" {
			cfg.Sources = sources(t, c.sources)
		}
		got := load(context.Background(), t, cfg)
		missing := got.Failed[portsExhausted]
		if got.Succeeded != 1000 || got.Open != 0 || got.TotalFailed() != missing {
			t.Errorf("%+v: %s", c, got.ends())
		}
		// For each of two loops 7 pauses of 1 to 64 ms, then some of 100 ms; twice that for those
		// that a success ends meanwhile.
		if most := 4 * (7 + uint64(got.ElapsedNS)/uint64(100*time.Millisecond)); missing < 2 || missing > most || got.ExhaustedNS == 0 {
			t.Errorf("%+v: %d attempts without a port in %v", c, missing, time.Duration(got.ExhaustedNS))
		}
		// Where and when it began. It lasts to the end in each loop that has no port left.
		if e := got.Exhaustion; e == nil || e.Target != c.target || e.Source != c.sources || e.AtNS <= 0 || e.AtNS >= got.ElapsedNS {
			t.Errorf("%+v: exhausted %+v", c, e)
		}
		if spells := got.Histograms[metrics.Exhausted]; spells.Count < 1 || spells.Count > 2 || spells.Max > got.ElapsedNS {
			t.Errorf("%+v: %d spells, the longest %d ns of %d", c, spells.Count, spells.Max, got.ElapsedNS)
		}
		// The kernel was asked about one connection in 64, and none lost a segment.
		if s := got.TCP; s.Established < 1000/64-2 || s.Established > 1000/64+2 || s.Closed < 1000/64-2 || s.MSS == 0 || s.Retransmits+s.SYNRetransmits != 0 {
			t.Errorf("%+v: TCP_INFO %+v", c, s)
		}
		moved := counters(t).Sub(before)
		if moved["Tcp"]["ActiveOpens"] != 1000 || got.SYNs != 1000 {
			t.Errorf("%+v: %d SYNs, ActiveOpens grew by %d", c, got.SYNs, moved["Tcp"]["ActiveOpens"])
		}
		until(t, "all of TIME_WAIT", func() bool { return timeWaits(t)-waits == 1000 })
	}
}

// With stop the first attempt without a port ends the run. Connections in flight end as planned.
func TestPortsExhaustedStop(t *testing.T) {
	if !alone.Namespace(t, thousandPorts...) {
		return
	}
	watchLeaks(t)
	got := load(context.Background(), t, loadgen.Config{
		Targets: to(serve(t, "127.0.0.1:9000", echoes).addr), Connections: 8, Loops: 2, Duration: time.Hour,
		Lifecycle: echo(1, wire.Client, wire.FIN), OnExhausted: loadgen.StopExhausted,
	})
	n := got.Failed[portsExhausted]
	if got.Succeeded != 1000 || got.Open != 0 || n < 1 || n > 2 || got.TotalFailed() != n || !strings.Contains(got.Stopped, "no four-tuple was free") {
		t.Error(got.ends())
	}
}

// With wait an attempt without a port waits for one until its timeout.
func TestPortsExhaustedWait(t *testing.T) {
	if !alone.Namespace(t, thousandPorts...) {
		return
	}
	watchLeaks(t)
	cfg := loadgen.Config{
		Targets: to(serve(t, "127.0.0.1:9000", echoes).addr), Connections: 8, Loops: 1, Count: 1002,
		Lifecycle: echo(1, wire.Client, wire.FIN), OnExhausted: loadgen.WaitExhausted, Timeout: 200 * time.Millisecond,
	}
	got := load(context.Background(), t, cfg)
	if got.Succeeded != 1000 || got.Failed[portsExhausted] != 2 || got.Open != 0 {
		t.Error(got.ends())
	}
	if shut := time.Duration(got.ExhaustedNS); shut < cfg.Timeout {
		t.Errorf("shut for %v", shut)
	}
	// If the run is interrupted while it waits, it is open.
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	cfg.Timeout, cfg.Count = time.Minute, 0
	cfg.Duration = time.Hour
	if got := load(ctx, t, cfg); got.Succeeded != 0 || got.TotalFailed() != 0 || got.Open != got.Attempted || got.Open == 0 {
		t.Error(got.ends())
	}
}

// If the server closes, ports are free again at once: attempts that wait for one get it, and none
// fails.
func TestPortsComeBack(t *testing.T) {
	if !alone.Namespace(t, "net.ipv4.ip_local_port_range=20000 20019", "net.ipv4.tcp_tw_reuse=0", "net.ipv4.tcp_rfc1337=1") {
		return
	}
	watchLeaks(t)
	const ports = 20
	// Nobody is answered before all ports are taken.
	var first sync.WaitGroup
	first.Add(ports)
	var askers atomic.Uint64
	h := serve(t, "127.0.0.1:9000", asked(func(c *tcp) error {
		if askers.Add(1) <= ports {
			first.Done()
		}
		first.Wait()
		return says(pong, closes)(c)
	}))
	for _, process := range []pace.Process{pace.Closed, pace.Constant} {
		cfg := loadgen.Config{
			Targets: to(h.addr), Process: process, Profile: pace.Steady(1000 * pace.PerSecond), Connections: 64, Loops: 1, Count: 400,
			Lifecycle: loadgen.Lifecycle{Request: pinged, Response: isPong, CloseBy: wire.Server}, OnExhausted: loadgen.WaitExhausted,
		}
		got := load(context.Background(), t, cfg)
		if got.ends() != allSucceeded(400) {
			t.Errorf("%s: %s", process, got.ends())
		}
		if process == pace.Closed && got.ExhaustedNS == 0 {
			t.Errorf("%s: never out of ports", process)
		}
	}
}

// The attempt that has waited longest comes first, also after a try that failed.
func TestParkedAttemptsKeepTheirOrder(t *testing.T) {
	if !alone.Namespace(t, "net.ipv4.ip_local_port_range=20000 20000", "net.ipv4.tcp_tw_reuse=0") {
		return
	}
	watchLeaks(t)
	l, _ := manualLoop(t, loadgen.Config{
		Targets: to(mute(t, "127.0.0.1:9000", 10)), Process: pace.Constant, Profile: pace.Steady(1000 * pace.PerSecond), Connections: 5, Duration: time.Hour,
		Lifecycle: echo(1, wire.Client, wire.RST), OnExhausted: loadgen.WaitExhausted,
	})
	turns(t, l, func() bool { return len(l.parked) == 4 })
	want := append(l.parked[:0:0], l.parked...)
	for range 5 {
		turns(t, l, func() bool { return !l.arrivals.Backoff.Blocks(l.run.now()) })
		l.clock()
		l.startParked()
		for i := range want {
			if len(l.parked) != len(want) || l.parked[i] != want[i] {
				t.Fatalf("%v wait, in the order %v", want, l.parked)
			}
		}
	}
	// The one port is free again.
	for slot := range l.conns {
		if l.conns[slot].state != parked {
			_ = abortOnClose(int(l.conns[slot].fd))
			l.expire(int32(slot), l.now)
		}
	}
	turns(t, l, func() bool { return l.conns[want[0].Slot].state != parked })
}

// A host without an address cannot reach the target. The errno is that of exhausted ports; the
// outcome must not be.
func TestNoSourceAddress(t *testing.T) {
	if _, err := os.Stat("/proc/sys/net/ipv6"); errors.Is(err, fs.ErrNotExist) {
		alone.Needed(t, "IPv6")
	}
	if !alone.Namespace(t, "net.ipv6.conf.all.disable_ipv6=1") {
		return
	}
	watchLeaks(t)
	for _, target := range []string{"[::1]:9000", "[2001:db8::1]:9000"} {
		got := load(context.Background(), t, loadgen.Config{
			Targets: to(netip.MustParseAddrPort(target)), Count: 10, Lifecycle: echo(1, wire.Client, wire.FIN),
		})
		if n := got.Failed["connect.bad_address"] + got.Failed["connect.unreachable"]; n != 10 || got.SYNs != 0 {
			t.Errorf("%s: %s", target, got.ends())
		}
	}
}

// A connection to a local port on which nobody listens can meet itself: the SYN finds its own socket
// in SYN_SENT, a simultaneous open (RFC 9293, section 3.5). It counts as refused.
func TestNobodyConnectsToItself(t *testing.T) {
	if !alone.Namespace(t, "net.ipv4.ip_local_port_range=20000 20001") {
		return
	}
	watchLeaks(t)
	for _, from := range []pace.Sources{nil, sources(t, "127.0.0.1")} {
		got := load(context.Background(), t, loadgen.Config{
			Targets: to(netip.MustParseAddrPort("127.0.0.1:20000")), Sources: from, Count: 10, Connections: 1, Loops: 1,
			Lifecycle: echo(1, wire.Client, wire.RST),
		})
		if got.ends() != allFailed(10, "connect.refused") {
			t.Errorf("nobody listens: %s, %d established", got.ends(), got.Established)
		}
	}
}

// The client's counts are the kernel's: Tcp ActiveOpens are the SYNs, and PassiveOpens the established
// connections, because all servers are here.
func TestKernelAgrees(t *testing.T) {
	if !alone.Namespace(t) {
		return
	}
	watchLeaks(t)
	const n = 100 // so few that the queue for one neighbour holds all their SYNs
	alone.Veth(t, netlink.NewLinkAttrs(), "10.9.0.1/24")
	alone.Beyond(t, "10.9.0.3/24") // another host, whose RSTs are not counted here
	alone.Silence(t, "10.9.0.4")
	alone.Route(t, "10.10.0.0/24", unix.RTN_UNREACHABLE)
	alone.Route(t, "10.11.0.0/24", unix.RTN_PROHIBIT)
	alone.Route(t, "10.12.0.0/24", unix.RTN_BLACKHOLE)
	alone.Sysctl(t, "net.ipv4.neigh.v0.retrans_time_ms=10") // three requests to a neighbour that is not there
	at := func(target string) []netip.AddrPort { return to(netip.MustParseAddrPort(target)) }
	const quick, whatever = 200 * time.Millisecond, -1
	for _, c := range []struct {
		name    string
		targets []netip.AddrPort
		life    loadgen.Lifecycle
		timeout time.Duration
		ends    string
		want    map[string]int64 // growth of counters of the group Tcp
	}{
		{"client closes", to(serve(t, "127.0.0.1:0", echoes).addr), echo(1, wire.Client, wire.FIN), 0, "",
			map[string]int64{"ActiveOpens": n, "PassiveOpens": n}},
		{"client resets", to(serve(t, "127.0.0.1:0", echoes).addr), echo(1, wire.Client, wire.RST), 0, "",
			map[string]int64{"ActiveOpens": n, "PassiveOpens": n, "OutRsts": n, "EstabResets": 2 * n}},
		{"server closes", to(serve(t, "127.0.0.1:0", answers(closes)).addr),
			loadgen.Lifecycle{Request: pinged, Response: isPong, CloseBy: wire.Server}, 0, "",
			map[string]int64{"ActiveOpens": n, "PassiveOpens": n}},
		{"server resets", to(serve(t, "127.0.0.1:0", answers(resets)).addr),
			loadgen.Lifecycle{Request: pinged, Response: isPong, CloseBy: wire.Server, CloseHow: wire.RST}, 0, "",
			map[string]int64{"ActiveOpens": n, "PassiveOpens": n, "OutRsts": n, "EstabResets": 2 * n}},
		{"server resets at once", to(serve(t, "127.0.0.1:0", resets).addr), echo(1, wire.Client, wire.FIN), 0, "exchange.reset",
			// A request that crosses the RST is answered by another RST.
			map[string]int64{"ActiveOpens": n, "PassiveOpens": n, "OutRsts": whatever, "EstabResets": whatever}},
		{"refused", to(closed(t, "127.0.0.1:0")), echo(1, wire.Client, wire.FIN), 0, "connect.refused",
			map[string]int64{"ActiveOpens": n, "OutRsts": n, "AttemptFails": n}},
		{"refused by another host", at("10.9.0.3:1001"), echo(1, wire.Client, wire.FIN), 0, "connect.refused",
			map[string]int64{"ActiveOpens": n, "AttemptFails": n}},
		{"dropped on the way", at("10.9.0.4:1000"), echo(1, wire.Client, wire.FIN), quick, "connect.timeout",
			map[string]int64{"ActiveOpens": n}},
		{"no neighbour", at("10.9.0.2:80"), echo(1, wire.Client, wire.FIN), 0, "connect.unreachable",
			map[string]int64{"ActiveOpens": n, "AttemptFails": n}},
		{"no route", at("10.8.0.1:80"), echo(1, wire.Client, wire.FIN), 0, "connect.unreachable", nil},
		{"unreachable", at("10.10.0.1:80"), echo(1, wire.Client, wire.FIN), 0, "connect.unreachable", nil},
		{"prohibited", at("10.11.0.1:80"), echo(1, wire.Client, wire.FIN), 0, "connect.denied", nil},
		{"blackhole", at("10.12.0.1:80"), echo(1, wire.Client, wire.FIN), 0, "connect.bad_address", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := counters(t)
			got := load(context.Background(), t, loadgen.Config{Targets: c.targets, Count: n, Connections: n, Lifecycle: c.life, Timeout: c.timeout})
			want := allSucceeded(n)
			if c.ends != "" {
				want = allFailed(n, c.ends)
			}
			if got.ends() != want {
				t.Errorf("%s\nwant %s", got.ends(), want)
			}
			// The server sides may end a moment later.
			var moved map[string]int64
			until(t, "the counters", func() bool {
				moved = counters(t).Sub(before)["Tcp"]
				for name, v := range c.want {
					if moved[name] < v {
						return false
					}
				}
				return true
			})
			for _, name := range []string{"ActiveOpens", "PassiveOpens", "AttemptFails", "EstabResets", "OutRsts"} {
				if c.want[name] != whatever && moved[name] != c.want[name] {
					t.Errorf("%s grew by %d, want %d", name, moved[name], c.want[name])
				}
			}
			if int64(got.SYNs) != moved["ActiveOpens"] {
				t.Errorf("%d SYNs, ActiveOpens grew by %d", got.SYNs, moved["ActiveOpens"])
			}
			if int64(got.Established) != moved["PassiveOpens"] {
				t.Errorf("%d established, PassiveOpens grew by %d", got.Established, moved["PassiveOpens"])
			}
		})
	}
}

// overflowing is a server whose accept queue is full until it is opened.
func overflowing(t *testing.T, address string, play peer) (h *host, open func()) {
	t.Helper()
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	backlog := func(n int) {
		raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), n) })
		if err != nil {
			t.Errorf("listen(%d): %v", n, err)
		}
	}
	backlog(0) // room for one
	h = &host{addr: netip.MustParseAddrPort(address), play: play, listener: l.(*net.TCPListener), open: map[*tcp]struct{}{}}
	t.Cleanup(h.kill)
	first, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { first.Close() })
	until(t, "one in the queue", func() bool { return queued(t, h.addr) == 1 })
	return h, func() {
		backlog(100)
		h.group.Add(1)
		go h.accept(h.listener)
	}
}

// A lost SYN is sent again after a second. The kernel is asked about every connection that took so
// long, so that the sample has all its retransmissions.
func TestLateConnectsAreAllAskedAbout(t *testing.T) {
	if !alone.Namespace(t) {
		return
	}
	watchLeaks(t)
	const n = 8
	// A full accept queue drops the first SYN of each. Then it gets room.
	server, open := overflowing(t, "127.0.0.1:9000", echoes)
	before := counters(t)
	opened := make(chan struct{})
	go func() {
		defer close(opened)
		for counters(t).Sub(before)["TcpExt"]["ListenOverflows"] < n {
			time.Sleep(time.Millisecond)
		}
		open()
	}()
	got := load(context.Background(), t, loadgen.Config{
		Targets: to(server.addr), Connections: n, Count: n, Loops: 1, Lifecycle: echo(1, wire.Client, wire.FIN),
	})
	<-opened
	again := counters(t).Sub(before)["TcpExt"]["TCPSynRetrans"]
	// On a slow machine one may be sent twice.
	if got.ends() != allSucceeded(n) || again < n {
		t.Errorf("%s, the kernel sent %d SYNs again", got.ends(), again)
	}
	if got.TCP.Established != n || int64(got.TCP.SYNRetransmits) != again {
		t.Errorf("%d asked, with %d SYNs sent again; the kernel counts %d", got.TCP.Established, got.TCP.SYNRetransmits, again)
	}
	if first := got.Histograms[metrics.Connect].Min; first < int64(time.Second) {
		t.Errorf("the first was connected after %v", time.Duration(first))
	}
}

// connect() calls while half of the ports are taken have a histogram of their own.
func TestUpperHalf(t *testing.T) {
	watchLeaks(t)
	for _, upper := range []bool{false, true} {
		var flag atomic.Bool
		flag.Store(upper)
		got, err := Engine{}.Run(t.Context(), loadgen.Config{
			Targets: to(serve(t, "127.0.0.1:0", echoes).addr), Process: pace.Closed, Connections: 4, Count: 50, Loops: 1, Timeout: patience,
			OnExhausted: loadgen.CountExhausted, Lifecycle: echo(1, wire.Client, wire.FIN),
		}, loadgen.Observer{UpperHalf: &flag})
		if err != nil {
			t.Fatal(err)
		}
		want := int64(0)
		if upper {
			want = 50
		}
		if n := got.Histograms[metrics.ConnectCallUpper].Count; n != want {
			t.Errorf("half full %v: %d connects in their own histogram, want %d", upper, n, want)
		}
	}
}

// If one of two explicit ports is in use, the attempt gets the other.
func TestExplicitPortsInUseAreSkipped(t *testing.T) {
	if !alone.Namespace(t) { // nobody else takes the other port
		return
	}
	watchLeaks(t)
	taken := mute(t, "127.0.0.2:0", 1)
	port := int(taken.Port())
	seen := map[string]uint64{}
	for _, r := range [][2]int{{port, port + 1}, {port - 1, port}, {port, port}} {
		got := load(t.Context(), t, loadgen.Config{
			Targets: to(serve(t, "127.0.0.1:0", echoes).addr), Sources: sources(t, "127.0.0.2"), Connections: 1, Count: 1, Loops: 1,
			Lifecycle: echo(1, wire.Client, wire.RST), Options: loadgen.Options{FixedPorts: true, PortRange: r},
		})
		seen[fmt.Sprint(r[0]-port, r[1]-port)] = got.Succeeded
		if r[0] == r[1] && got.Failed["socket.ports_exhausted"] != 1 {
			t.Errorf("the only port is in use: %s", got.ends())
		}
	}
	if want := map[string]uint64{"0 1": 1, "-1 0": 1, "0 0": 0}; !maps.Equal(seen, want) {
		t.Errorf("succeeded, by the distance of the range from the port in use: %v, want %v", seen, want)
	}
}
