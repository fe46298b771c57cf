package sockets

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/internal/alone"
	"tcpbench/internal/kernel/sockdiag"
	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
	"tcpbench/metrics"
)

// A request that is larger than all buffers is sent in pieces, as the server reads it.
func TestBigRequestToASlowReader(t *testing.T) {
	watchLeaks(t)
	const size, n = 8 << 20, 8 // more than tcp_wmem and tcp_rmem allow together
	for _, c := range []struct {
		name string
		then peer
		life loadgen.Lifecycle
		ends string
	}{
		{"client closes", says(pong, reads), loadgen.Lifecycle{Response: isPong}, allSucceeded(n)},
		{"server closes", says(pong, closes), loadgen.Lifecycle{Response: isPong, CloseBy: wire.Server}, allSucceeded(n)},
		{"server resets within", resets, loadgen.Lifecycle{Response: isPong}, allFailed(n, "exchange.reset")},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := serve(t, "127.0.0.1:0", func(conn *tcp) error {
				left := size
				if c.name == "server resets within" {
					left /= 2
				}
				for b := make([]byte, 16<<10); left > 0; {
					n, err := conn.Read(b[:min(left, len(b))])
					if err != nil {
						return err
					}
					left -= n
				}
				return c.then(conn)
			})
			c.life.Request = make([]byte, size)
			got := load(context.Background(), t, loadgen.Config{Targets: to(h.addr), Count: n, Lifecycle: c.life})
			if got.ends() != c.ends {
				t.Errorf("%s\nwant %s", got.ends(), c.ends)
			}
		})
	}
}

// If a server reads nothing of a big request, the exchange times out.
func TestBigRequestToNobody(t *testing.T) {
	watchLeaks(t)
	h := serve(t, "127.0.0.1:0", forgets)
	life := echo(16<<20, wire.Client, wire.FIN)
	got := load(context.Background(), t, loadgen.Config{Targets: to(h.addr), Count: 4, Lifecycle: life, Timeout: time.Second})
	if got.ends() != allFailed(4, "exchange.timeout") {
		t.Error(got.ends())
	}
}

func TestRefused(t *testing.T) {
	watchLeaks(t)
	for _, address := range alone.Loopbacks(t) {
		addr := closed(t, address)
		got := load(context.Background(), t, loadgen.Config{Targets: to(addr), Count: 100, Lifecycle: echo(1, wire.Client, wire.FIN)})
		if got.ends() != allFailed(100, "connect.refused") || got.SYNs != 100 || got.Established != 0 {
			t.Errorf("%s: %s, %d SYNs, %d established", addr, got.ends(), got.SYNs, got.Established)
		}
	}
}

// A full accept queue and a silent server both end in a timeout; the stage tells which.
func TestBacklogFull(t *testing.T) {
	watchLeaks(t)
	const backlog, n = 2, 10
	got := load(context.Background(), t, loadgen.Config{
		Targets: to(mute(t, "127.0.0.1:0", backlog)), Count: n, Connections: n, Loops: 1,
		Lifecycle: echo(1, wire.Client, wire.FIN), Timeout: 900 * time.Millisecond, // before SYNs are sent again
	})
	if got.Failed["exchange.timeout"] != backlog+1 || got.Failed["connect.timeout"] != n-backlog-1 {
		t.Error(got.ends())
	}
	if got.SYNs != n || got.Established != backlog+1 {
		t.Errorf("%d SYNs, %d established", got.SYNs, got.Established)
	}
}

// A source that this host does not have, and a target that cannot be connected to.
func TestBadSources(t *testing.T) {
	watchLeaks(t)
	h := serve(t, "127.0.0.1:0", echoes)
	life := echo(1, wire.Client, wire.FIN)
	got := load(context.Background(), t, loadgen.Config{Targets: to(h.addr), Sources: sources(t, "192.0.2.77"), Count: 10, Lifecycle: life})
	if got.ends() != allFailed(10, "socket.bad_address") || got.SYNs != 0 {
		t.Error(got.ends())
	}
	// connect() to a broadcast address fails at once.
	got = load(context.Background(), t, loadgen.Config{Targets: to(netip.MustParseAddrPort("255.255.255.255:9")), Count: 10, Lifecycle: life})
	if got.TotalFailed() != 10 || got.Failed["connect.unreachable"]+got.Failed["connect.denied"] != 10 || got.SYNs != 0 {
		t.Error(got.ends())
	}
}

// A run whose last attempt fails within connect() is over at once. Otherwise its elapsed time, and so
// its rate, would be wrong.
func TestLastAttemptFailsAtOnce(t *testing.T) {
	watchLeaks(t)
	began := time.Now()
	got := load(context.Background(), t, loadgen.Config{
		Targets: to(netip.MustParseAddrPort("127.0.0.1:9")), Sources: sources(t, "192.0.2.77"), Count: 10,
		Lifecycle: echo(1, wire.Client, wire.FIN),
	})
	if took := time.Since(began); got.TotalFailed() != 10 || time.Duration(got.ElapsedNS) > 900*time.Millisecond {
		t.Errorf("%s in %v, after %v", got.ends(), time.Duration(got.ElapsedNS), took)
	}
}

// Both families in one run: each target is reached from sources of its family.
func TestBothFamilies(t *testing.T) {
	watchLeaks(t)
	four, six := serve(t, "127.0.0.1:0", echoes), serve(t, "[::1]:0", echoes)
	got := load(context.Background(), t, loadgen.Config{
		Targets: to(four.addr, six.addr), Sources: sources(t, "127.0.0.1-127.0.0.3,::1"),
		Count: 400, Loops: 1, Lifecycle: echo(1, wire.Client, wire.FIN),
	})
	if got.ends() != allSucceeded(400) {
		t.Error(got.ends())
	}
	if four.accepted.Load() != 300 || six.accepted.Load() != 100 {
		t.Errorf("%d over IPv4, %d over IPv6, want three sources and one", four.accepted.Load(), six.accepted.Load())
	}
}

func TestHTTP(t *testing.T) {
	watchLeaks(t)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, strings.Repeat("hello ", 10_000))
	}))
	defer s.Close()
	target := s.Listener.Addr().(*net.TCPAddr).AddrPort()
	for _, c := range []struct {
		name, request string
		life          loadgen.Lifecycle
		ends          string
	}{
		{"1.0, read to the close", "GET / HTTP/1.0\r\n\r\n", loadgen.Lifecycle{Response: atClose, CloseBy: wire.Server}, allSucceeded(50)},
		{"1.1, status seen", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", loadgen.Lifecycle{Response: matching(`^HTTP/1\.1 200 OK\r\n`)}, allSucceeded(50)},
		{"1.1, body seen", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", loadgen.Lifecycle{Response: matching(`(?s)hello .*hello \r\n0\r\n\r\n$`)}, allSucceeded(50)},
		{"1.1, closed when asked to", "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", loadgen.Lifecycle{Response: atClose, CloseBy: wire.Server}, allSucceeded(50)},
		{"1.1, half-closed", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", loadgen.Lifecycle{Response: matching(`0\r\n\r\n$`), CloseWait: true}, allSucceeded(50)},
		{"another status", "nonsense\r\n\r\n", loadgen.Lifecycle{Response: matching(`^HTTP/1\.1 200 OK\r\n`)}, allFailed(50, "exchange.closed_early")},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.life.Request = []byte(c.request)
			got := load(context.Background(), t, loadgen.Config{Targets: to(target), Sources: sources(t, "127.0.0.1-127.0.0.8"), Count: 50, Lifecycle: c.life})
			if got.ends() != c.ends {
				t.Errorf("%s\nwant %s", got.ends(), c.ends)
			}
		})
	}
}

// An open loop starts what its schedule says, whatever becomes of earlier connections.
func TestOpenLoop(t *testing.T) {
	watchLeaks(t)
	h := serve(t, "127.0.0.1:0", echoes)
	for _, process := range []pace.Process{pace.Constant, pace.Poisson} {
		for _, warmup := range []time.Duration{0, 200 * time.Millisecond} {
			cfg := loadgen.Config{
				Targets: to(h.addr), Sources: sources(t, "127.0.0.2-127.0.0.9"), Process: process, Profile: pace.Steady(500 * pace.PerSecond), Seed: 3,
				Connections: 512, Loops: 2, Warmup: warmup, Duration: 250 * time.Millisecond, Lifecycle: echo(4, wire.Client, wire.RST),
			}
			got := load(context.Background(), t, cfg)
			// On a busy machine some may be missed, but all are counted.
			if want := scheduled(cfg, 0) + scheduled(cfg, 1); got.Attempted+got.Missed != want {
				t.Errorf("%s: %d attempted + %d missed, scheduled %d", process, got.Attempted, got.Missed, want)
			}
			if got.Succeeded != got.Attempted || got.Open != 0 {
				t.Errorf("%s: %s", process, got.ends())
			}
			if process == pace.Constant && got.Attempted+got.Missed != 125 {
				t.Errorf("%d arrivals in a quarter of a second at 500/s", got.Attempted+got.Missed)
			}
			if got.ElapsedNS < int64(cfg.Duration) {
				t.Errorf("%v measured of %v", time.Duration(got.ElapsedNS), cfg.Duration)
			}
			// Connections of the warm-up count only as SYNs.
			if extra := got.SYNs - got.Attempted; (extra > 0) != (warmup > 0) {
				t.Errorf("%s, warm-up %v: %d SYNs of %d attempts", process, warmup, got.SYNs, got.Attempted)
			}
		}
	}
}

// If every slot is taken, arrivals are missed: they are no attempts.
func TestFullSlabMisses(t *testing.T) {
	watchLeaks(t)
	cfg := loadgen.Config{
		Targets: to(mute(t, "127.0.0.1:0", 64)), Process: pace.Constant, Profile: pace.Steady(1000 * pace.PerSecond), Connections: 6, Loops: 2,
		Duration: 300 * time.Millisecond, Timeout: 10 * time.Second, Lifecycle: echo(1, wire.Client, wire.FIN),
	}
	ctx, cancel := context.WithTimeout(context.Background(), cfg.Duration+200*time.Millisecond)
	defer cancel()
	got := load(ctx, t, cfg)
	if got.Attempted != 6 || got.Open != 6 || got.Missed != 300-6 {
		t.Errorf("%s, %d missed", got.ends(), got.Missed)
	}
}

// The periods come in order, and each once; the warm-up is not in the report.
func TestPhases(t *testing.T) {
	watchLeaks(t)
	h := serve(t, "127.0.0.1:0", echoes)
	cfg := loadgen.Config{Targets: to(h.addr), Duration: 50 * time.Millisecond, Lifecycle: echo(1, wire.Client, wire.RST)}
	if got := load(context.Background(), t, cfg); !slices.Equal(got.periods, []loadgen.Period{loadgen.Measuring, loadgen.Draining}) || got.SYNs != got.Attempted {
		t.Errorf("periods %v, %d SYNs of %d attempts", got.periods, got.SYNs, got.Attempted)
	}
	// Long enough for a slow machine.
	cfg.Warmup, cfg.Duration = 50*time.Millisecond, 300*time.Millisecond
	got := load(context.Background(), t, cfg)
	if !slices.Equal(got.periods, []loadgen.Period{loadgen.WarmingUp, loadgen.Measuring, loadgen.Draining}) || got.SYNs <= got.Attempted {
		t.Errorf("periods %v, %d SYNs of %d attempts", got.periods, got.SYNs, got.Attempted)
	}
	if took := time.Duration(got.ElapsedNS); took < cfg.Duration || took > patience {
		t.Errorf("measured for %v", took)
	}
	for _, l := range got.Loops {
		if l.Turns == 0 || l.BusyNS <= 0 || l.BusyNS > got.ElapsedNS+int64(time.Second) || l.CPUNS < 0 {
			t.Errorf("%+v", l)
		}
	}
	if got.UserNS+got.SystemNS <= 0 || got.MaxRSS == 0 {
		t.Errorf("used %d + %d ns, %d bytes", got.UserNS, got.SystemNS, got.MaxRSS)
	}
}

// processorTime is what this process has used so far.
func processorTime() int64 {
	user, system, _ := usage()
	return user + system
}

// A run that is interrupted in its warm-up has measured nothing, even if its drain ends after the
// warm-up would have.
func TestInterruptedWarmup(t *testing.T) {
	watchLeaks(t)
	h := serve(t, "127.0.0.1:0", forgets)
	cfg := loadgen.Config{
		Targets: to(h.addr), Warmup: 900 * time.Millisecond, Duration: time.Minute,
		Lifecycle: echo(1, wire.Client, wire.FIN), Timeout: 2 * time.Second,
	}
	// Processor time that was used before does not count.
	for processorTime() < int64(200*time.Millisecond) {
		continue
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		until(t, "all connections to be under way", func() bool { return h.accepted.Load() == 4 })
		cancel()
	}()
	before := processorTime()
	got := load(ctx, t, cfg)
	if spent := processorTime() - before; got.UserNS+got.SystemNS > spent {
		t.Errorf("the report says %v of processor time, the whole run took %v",
			time.Duration(got.UserNS+got.SystemNS), time.Duration(spent))
	}
	if got.Attempted != 0 || got.Stopped != "interrupted" || got.SYNs != 4 {
		t.Errorf("%s, %d SYNs", got.ends(), got.SYNs)
	}
}

// An interrupted run says so, and connections in flight have a second to end.
func TestInterrupted(t *testing.T) {
	watchLeaks(t)
	h := serve(t, "127.0.0.1:0", echoes)
	ctx, cancel := context.WithCancel(context.Background())
	cfg := loadgen.Config{Targets: to(h.addr), Sources: sources(t, "127.0.0.2-127.0.0.9"), Duration: time.Hour, Lifecycle: echo(1, wire.Client, wire.RST)}
	go func() {
		until(t, "some connections", func() bool { return h.accepted.Load() > 100 })
		cancel()
	}()
	got := load(ctx, t, cfg)
	if got.Stopped != "interrupted" || got.Succeeded < 90 || got.Open != 0 {
		t.Error(got.ends())
	}
	// A run that is interrupted before it begins.
	if got := load(ctx, t, cfg); got.Stopped != "interrupted" || got.Open != 0 {
		t.Error(got.ends())
	}
	// If the server never answers, connections are left open, and counted.
	ctx, cancel = context.WithCancel(context.Background())
	defer cancel()
	silent := mute(t, "127.0.0.1:0", 64)
	cfg.Targets = to(silent)
	interrupted := make(chan time.Time, 1)
	go func() {
		until(t, "all to be connected", func() bool { return queued(t, silent) == 4 })
		interrupted <- time.Now()
		cancel()
	}()
	if got := load(ctx, t, cfg); got.Attempted != 4 || got.Open != 4 || time.Since(<-interrupted) < grace {
		t.Error(got.ends())
	}
}

// queued is how many connections wait in the accept queue of a listener.
func queued(t testing.TB, at netip.AddrPort) int {
	t.Helper()
	census, err := sockdiag.OpenCensus()
	if err != nil {
		t.Error(err)
		return -1
	}
	defer census.Close()
	all, err := census.Listeners([]sockdiag.Ports{{Low: at.Port(), High: at.Port()}})
	if err != nil || len(all) != 1 {
		t.Errorf("%d listeners at %v: %v", len(all), at, err)
		return -1
	}
	return all[0].Queue
}

// A count bounds the run exactly, over any number of loops.
func TestCount(t *testing.T) {
	watchLeaks(t)
	h := serve(t, "127.0.0.1:0", echoes)
	for _, c := range []struct {
		count              uint64
		loops, connections int
	}{{1, 1, 1}, {1, 4, 4}, {3, 2, 100}, {101, 3, 7}} {
		cfg := loadgen.Config{Targets: to(h.addr), Count: c.count, Loops: c.loops, Connections: c.connections, Lifecycle: echo(1, wire.Client, wire.RST)}
		if got := load(context.Background(), t, cfg); got.ends() != allSucceeded(c.count) || got.InTime != c.count {
			t.Errorf("%+v: %s, %d in time", c, got.ends(), got.InTime)
		}
		cfg.Process, cfg.Profile, cfg.Warmup = pace.Constant, pace.Steady(5000*pace.PerSecond), 5*time.Millisecond
		if got := load(context.Background(), t, cfg); got.Attempted != c.count || got.Succeeded != c.count {
			t.Errorf("%+v, open: %s", c, got.ends())
		}
	}
}

// The kernel is asked about one handshake in 64.
func TestHandshakeRTTIsSampled(t *testing.T) {
	watchLeaks(t)
	h := serve(t, "127.0.0.1:0", echoes)
	got := load(context.Background(), t, loadgen.Config{Targets: to(h.addr), Count: 3 * infoSample, Loops: 1, Lifecycle: echo(1, wire.Client, wire.RST)})
	if rtt := got.Histograms[metrics.HandshakeRTT]; rtt.Count != 3 || rtt.Min <= 0 || rtt.Clamped != 0 {
		t.Errorf("%+v", rtt)
	}
}

// A connection that the server resets before the client sees the handshake counts as established:
// the server has accepted it.
func TestResetBeforeTheHandshakeIsSeen(t *testing.T) {
	watchLeaks(t)
	h := serve(t, "127.0.0.1:0", resets)
	l, _ := manualLoop(t, loadgen.Config{
		Targets: to(h.addr), Connections: 8, Count: 8,
		Lifecycle: echo(1, wire.Client, wire.FIN),
	})
	l.passMarks()
	l.startDue()
	for i := range l.conns {
		fd := int(l.conns[i].fd)
		until(t, "the RST", func() bool {
			fds := []unix.PollFd{{Fd: int32(fd)}}
			n, err := unix.Poll(fds, 0)
			return n == 1 && err == nil && fds[0].Revents&unix.POLLERR != 0
		})
	}
	turns(t, l, l.over)
	if n := l.ends[metrics.StageExchange][metrics.Reset]; n != 8 {
		t.Errorf("%v", l.ends)
	}
	if l.report.Established != 8 || l.report.SYNs != 8 {
		t.Errorf("%d SYNs, %d established, want 8 of each: 8 were accepted", l.report.SYNs, l.report.Established)
	}
}
