package server

import (
	"math"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/internal/alone"
	"tcpbench/internal/wire"
	"tcpbench/metrics"
)

func TestOptionsReachListenersAndConnections(t *testing.T) {
	s := start(t, Config{Loops: 2, Options: Options{
		KeepAlive: 7 * time.Second, KeepInterval: 3 * time.Second, KeepProbes: 4,
		UserTimeout: 1500 * time.Millisecond, DeferAccept: 3 * time.Second,
	}})
	c := dial(t, s)
	write(t, c, opening(wire.Script{RequestSize: 1, ResponseSize: 1}))
	expect(t, c, 1)
	listeners, accepted := sockets(t, s.Addrs(), true), sockets(t, s.Addrs(), false)
	if len(listeners) != 2 || len(accepted) < 1 {
		t.Fatalf("%d listeners, %d connections", len(listeners), len(accepted))
	}
	for _, tt := range []struct {
		name                string
		level, option, want int
		of                  []int
	}{
		{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1, accepted},
		{"TCP_KEEPIDLE", unix.SOL_TCP, unix.TCP_KEEPIDLE, 7, accepted},
		{"TCP_KEEPINTVL", unix.SOL_TCP, unix.TCP_KEEPINTVL, 3, accepted},
		{"TCP_KEEPCNT", unix.SOL_TCP, unix.TCP_KEEPCNT, 4, accepted},
		{"TCP_USER_TIMEOUT", unix.SOL_TCP, unix.TCP_USER_TIMEOUT, 1500, accepted},
		{"TCP_DEFER_ACCEPT", unix.SOL_TCP, unix.TCP_DEFER_ACCEPT, 3, listeners}, // 1 s, and then twice as long
	} {
		for _, fd := range tt.of {
			if got, err := unix.GetsockoptInt(fd, tt.level, tt.option); err != nil || got != tt.want {
				t.Errorf("%s is %d, %v; want %d", tt.name, got, err, tt.want)
			}
		}
	}
}

// A connection that says nothing is not accepted before its time.
func TestDeferAccept(t *testing.T) {
	s := start(t, Config{Options: Options{DeferAccept: 30 * time.Second}})
	silent, eager := dial(t, s), dial(t, s)
	write(t, eager, opening(wire.Script{RequestSize: 1, ResponseSize: 1}))
	expect(t, eager, 1)
	if n := s.Stats().Accepted; n != 1 {
		t.Errorf("%d accepted, want the one that has sent something", n)
	}
	write(t, silent, opening(wire.Script{RequestSize: 1, ResponseSize: 1}))
	expect(t, silent, 1)
	if n := s.Stats().Accepted; n != 2 {
		t.Errorf("%d accepted, want both", n)
	}
}

func TestFastOpenNeedsTheHost(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/tcp_fastopen")
	if err != nil {
		alone.Needed(t, "a kernel with TCP Fast Open")
	}
	s, err := Start(Config{Addrs: loopback(1), Options: Options{FastOpen: true}})
	if err == nil {
		defer stop(t, s)
	}
	switch value := strings.TrimSpace(string(text)); value {
	case "0", "1": // off, or for clients only
		if err == nil || !strings.Contains(err.Error(), "sysctl -w net.ipv4.tcp_fastopen=3") {
			t.Errorf("with the value %s: %v", value, err)
		}
	case "2", "3":
		if err != nil {
			t.Errorf("with the value %s: %v", value, err)
			return
		}
		for _, fd := range sockets(t, s.Addrs(), true) {
			if n, err := unix.GetsockoptInt(fd, unix.SOL_TCP, unix.TCP_FASTOPEN); err != nil || n != fastOpenQueue {
				t.Errorf("a queue of %d, %v", n, err)
			}
		}
	}
}

func TestProbesWithoutKeepAlive(t *testing.T) {
	const want = "add keepalive"
	if _, err := Start(Config{Addrs: loopback(1), Options: Options{KeepProbes: 3}}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}

// A connection waits in the accept queue, and the kernel knows for how long.
func TestAcceptDelayIsTheWait(t *testing.T) {
	held, err := claimAll(loopback(1))
	if err != nil {
		t.Fatal(err)
	}
	defer held.release()
	if err := unix.Listen(held.fds[0], 8); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", held.addrs[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const wait = 60 * time.Millisecond
	began := time.Now()
	time.Sleep(wait)
	fd, _, err := unix.Accept(held.fds[0])
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	got, ok := sinceArrival(fd)
	if most := int64(time.Since(began)) + 2*tick; !ok || got < int64(wait)-2*tick || got > most {
		t.Errorf("%v, want %v to %v", time.Duration(got), wait, most)
	}
}

// The tick that is read is the one that the clock makes.
func TestTick(t *testing.T) {
	now := func() int64 {
		var at unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC_COARSE, &at); err != nil {
			t.Fatal(err)
		}
		return at.Nano()
	}
	shortest := int64(math.MaxInt64)
	for range 5 { // a machine that is busy misses some
		first := now()
		for next := now(); ; next = now() {
			if next != first {
				shortest = min(shortest, next-first)
				break
			}
		}
	}
	if tick > int64(time.Millisecond) && (shortest < tick*9/10 || shortest%tick > tick/10 && shortest%tick < tick*9/10) {
		t.Errorf("the clock moves by %v, a tick is said to be %v", time.Duration(shortest), time.Duration(tick))
	}
}

func TestAcceptDelayIsSampled(t *testing.T) {
	s := start(t, Config{Loops: 1})
	for range 2 * acceptSample {
		hangUp(t, dial(t, s), wire.FIN)
	}
	awaitClosed(t, s, Unused, 2*acceptSample)
	if h := histogram(t, s, metrics.AcceptDelay); h.Count != 2 || h.Resolution != tick || h.Clamped != 0 {
		t.Errorf("%+v of %d connections, want 2 in ticks of %v", h, 2*acceptSample, time.Duration(tick))
	}
	// After a warm-up they begin anew, and the counts are noted.
	s.Mark()
	if all, err := s.Histograms(); err != nil || len(all) > 0 {
		t.Errorf("%v, %v", all, err)
	}
	for range acceptSample {
		hangUp(t, dial(t, s), wire.FIN)
	}
	awaitClosed(t, s, Unused, 3*acceptSample)
	if h := histogram(t, s, metrics.AcceptDelay); h.Count != 1 {
		t.Errorf("%d samples after the warm-up, want 1", h.Count)
	}
	if before := s.Marked(); before.Accepted != 2*acceptSample || before.Closed[Unused.String()] != 2*acceptSample {
		t.Errorf("%+v", before)
	}
}
