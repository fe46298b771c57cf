package sockets

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/internal/alone"
	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
)

// moody is a server that treats each connection differently.
func moody() peer {
	var turn atomic.Uint64
	moods := []peer{
		echoes, echoes, echoes, echoes, resets, asked(resets), asked(closes), closes, answers(closes),
		answers(resets), forgets, asked(inPieces("pi", closes)), says("unasked", reads), closesHalf,
	}
	return func(c *tcp) error {
		n := turn.Add(1)
		if n/200%4 == 3 {
			return resets(c) // a storm of 200 RSTs
		}
		return moods[n*0x9e3779b97f4a7c15>>32%uint64(len(moods))](c)
	}
}

// crashes kills a host and starts it again, at random times, until ctx ends.
func crashes(ctx context.Context, h *host, seed uint64, group *sync.WaitGroup) {
	random := rand.New(rand.NewPCG(seed, 1))
	group.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Duration(random.IntN(60)) * time.Millisecond):
			}
			h.kill()
			time.Sleep(time.Duration(random.IntN(30)) * time.Millisecond)
			for h.start() != nil && ctx.Err() == nil {
				time.Sleep(time.Millisecond) // out of descriptors
			}
		}
	})
}

// someConfig draws a run of less than a second from all processes, lives and policies.
func someConfig(random *rand.Rand) loadgen.Config {
	ms := func(least, most int) time.Duration {
		return time.Duration(least+random.IntN(most-least)) * time.Millisecond
	}
	lives := []loadgen.Lifecycle{
		echo(4, wire.Client, wire.FIN), echo(4, wire.Client, wire.RST), echo(4, wire.Server, wire.FIN), echo(4, wire.Server, wire.RST),
		{Request: pinged, Response: isPong, CloseWait: true},
		{Request: pinged, Response: atClose, CloseBy: wire.Server},
		{Request: pinged, Response: atClose, CloseBy: wire.Server, CloseHow: wire.RST},
		{Request: pinged, Response: matching("p.n"), CloseWait: true},
		{Request: pinged, Response: atLeast(2), CloseHow: wire.RST},
		{Request: make([]byte, 1<<20), Response: atLeast(1 << 20), CloseHow: wire.RST},
		{ConnectOnly: true, CloseHow: wire.RST}, {ConnectOnly: true, CloseWait: true},
		{Hello: greeted("hello", atLeast(5)), Request: pinged, Response: matching("p.n")},
		{Request: pinged, Response: atLeast(4), Rotation: []loadgen.Template{{Text: pinged}, {Text: []byte("p000"), Fields: []loadgen.Field{{Kind: loadgen.Counter, At: 1, Width: 3}}}}},
	}
	cfg := loadgen.Config{
		Process:     []pace.Process{pace.Closed, pace.Constant, pace.Poisson}[random.IntN(3)],
		Connections: 1 + random.IntN(64),
		Profile:     pace.Steady(pace.Rate(200+random.IntN(4000)) * pace.PerSecond),
		Seed:        random.Uint64(),
		Lifecycle:   lives[random.IntN(len(lives))],
		Loops:       1 + random.IntN(3),
		Timeout:     ms(5, 150),
		OnExhausted: []loadgen.Policy{loadgen.CountExhausted, loadgen.WaitExhausted, loadgen.StopExhausted}[random.IntN(3)],
	}
	if random.IntN(2) == 0 {
		cfg.Warmup = ms(1, 100)
	}
	switch random.IntN(3) {
	case 0:
		cfg.Duration = ms(50, 350)
	case 1:
		cfg.Count = uint64(1 + random.IntN(2000))
	default:
		cfg.Duration, cfg.Count = ms(50, 350), uint64(1+random.IntN(2000))
	}
	return cfg
}

// tryToBreak runs random loads against servers that misbehave, crash and come back.
// The counts of each must balance (complain).
func tryToBreak(t *testing.T, rounds int) {
	t.Helper()
	crashing, sound := serveBelow(t, "127.0.0.1", moody()), serveBelow(t, "127.0.0.1", moody())
	ctx, cancel := context.WithCancel(context.Background())
	var group sync.WaitGroup
	crashes(ctx, crashing, 1, &group)
	defer group.Wait()
	defer cancel()
	deaf := mute(t, "127.0.0.1:0", 1)
	var attempted, succeeded, open uint64
	failed, stopped := map[string]uint64{}, 0
	for seed := range uint64(rounds) {
		random := rand.New(rand.NewPCG(seed, 2))
		cfg := someConfig(random)
		cfg.Targets = to(crashing.addr, sound.addr)
		if random.IntN(3) == 0 {
			cfg.Targets = append(cfg.Targets, deaf)
		}
		// Not the servers' address: a connection to a port on which nobody listens could
		// meet itself (RFC 9293, section 3.5, figure 7).
		cfg.Sources = sources(t, "127.0.0.2-127.0.0.5")
		within, cancel := context.WithTimeout(ctx, time.Duration(20+random.IntN(600))*time.Millisecond)
		got := load(within, t, cfg)
		cancel()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		attempted, succeeded, open = attempted+got.Attempted, succeeded+got.Succeeded, open+got.Open
		for name, n := range got.Failed {
			failed[name] += n
		}
		if got.Stopped != "" {
			stopped++
		}
	}
	t.Logf("%d attempted, %d succeeded, %d open, %d of %d runs stopped, %v", attempted, succeeded, open, stopped, rounds, failed)
	if succeeded == 0 || len(failed) < 4 || stopped == 0 {
		t.Error("too peaceful to prove anything")
	}
}

func TestBalance(t *testing.T) {
	watchLeaks(t)
	tryToBreak(t, 16)
}

// The same with too few ports and too few descriptors for client and servers.
func TestBalanceOfTheDestitute(t *testing.T) {
	if !alone.Namespace(t, "net.ipv4.ip_local_port_range=40000 40019", "net.ipv4.tcp_tw_reuse=0", "net.ipv4.tcp_rfc1337=1") {
		return
	}
	watchLeaks(t)
	limitDescriptors(t, 60)
	tryToBreak(t, 16)
}

// limitDescriptors leaves this process room for n more, until the end of the test.
func limitDescriptors(t *testing.T, n int) {
	t.Helper()
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Dup(0) // the lowest that is free: those below it are taken
	if err != nil {
		t.Fatal(err)
	}
	_ = unix.Close(fd)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(fd + n), Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &before); err != nil {
			t.Fatal(err)
		}
	})
}

// A client without free descriptors says so, uses those that it has, and does not spin.
func TestOutOfDescriptors(t *testing.T) {
	if !alone.Process(t, &syscall.SysProcAttr{}) {
		return
	}
	watchLeaks(t)
	// Nobody accepts, so all descriptors belong to the client.
	target := mute(t, "127.0.0.1:0", 1000)
	cfg := loadgen.Config{Targets: to(target), Loops: 2, Connections: 100, Duration: 700 * time.Millisecond,
		Lifecycle: echo(1, wire.Client, wire.RST), Timeout: 300 * time.Millisecond}
	limitDescriptors(t, 34) // 4 are the loops'
	got := load(context.Background(), t, cfg)
	if n := got.Failed["exchange.timeout"]; n < 30 {
		t.Errorf("%s: 30 descriptors were free", got.ends())
	}
	// Each loop pauses for 1 ms, 2 ms … 100 ms: 7 + 7 times until the first
	// descriptors come back, and so on.
	if n := got.Failed["socket.descriptors"]; n < 2 || n > 100 {
		t.Errorf("%s: want some failures and no storm of them", got.ends())
	}
	if got.ExhaustedNS == 0 || got.SYNs != got.Failed["exchange.timeout"] {
		t.Errorf("shut for %v, %d SYNs", time.Duration(got.ExhaustedNS), got.SYNs)
	}
	// Fewer in flight than descriptors: nothing fails.
	cfg.Connections, cfg.Duration, cfg.Count, cfg.Lifecycle = 20, 0, 200, loadgen.Lifecycle{ConnectOnly: true, CloseHow: wire.RST}
	if got := load(context.Background(), t, cfg); got.ends() != allSucceeded(200) || got.ExhaustedNS != 0 {
		t.Error(got.ends())
	}
}

// A run that cannot begin is an error, and leaves nothing open.
func TestNoDescriptorForTheLoops(t *testing.T) {
	if !alone.Process(t, &syscall.SysProcAttr{}) {
		return
	}
	for n := range 4 {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			watchLeaks(t)
			limitDescriptors(t, n)
			_, err := Engine{}.Run(context.Background(), loadgen.Config{
				Targets: to(netip.MustParseAddrPort("127.0.0.1:9")), Process: pace.Closed, Connections: 2, Loops: 2, Count: 1,
				Timeout: time.Second, OnExhausted: loadgen.CountExhausted, Lifecycle: loadgen.Lifecycle{ConnectOnly: true},
			}, loadgen.Observer{})
			if err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("load: loop %d: ", n/2)) || !strings.Contains(err.Error(), "too many open files") {
				t.Error(err)
			}
		})
	}
}
