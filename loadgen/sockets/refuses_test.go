package sockets

import (
	"context"
	"errors"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
)

// A slab of a million connections is 64 MB at most.
func TestConnIsSmall(t *testing.T) {
	size := unsafe.Sizeof(conn{})
	t.Logf("a slot takes %d bytes", size)
	if size > 64 {
		t.Errorf("a slot takes %d bytes, want 64 at most", size)
	}
}

func TestRunRefuses(t *testing.T) {
	watchLeaks(t)
	for _, c := range []struct {
		name   string
		change func(*loadgen.Config)
		want   string
	}{
		{"no target", func(c *loadgen.Config) { c.Targets = nil }, "no target"},
		{"no connections", func(c *loadgen.Config) { c.Connections = 0 }, "connections: want 1 or more"},
		{"no timeout", func(c *loadgen.Config) { c.Timeout = 0 }, "timeout: want more than 0"},
		{"negative duration", func(c *loadgen.Config) { c.Duration = -1 }, "a duration is negative"},
		{"negative warm-up", func(c *loadgen.Config) { c.Warmup = -1 }, "a duration is negative"},
		{"no bound", func(c *loadgen.Config) { c.Count = 0 }, "neither a duration nor a count"},
		{"no process", func(c *loadgen.Config) { c.Process = "" }, "unknown arrival process"},
		{"no rate", func(c *loadgen.Config) { c.Process = pace.Constant }, "needs a rate"},
		{"too high a rate", func(c *loadgen.Config) { c.Process, c.Profile = pace.Poisson, pace.Steady(pace.MaxRate+1) }, "up to"},
		{"no policy", func(c *loadgen.Config) { c.OnExhausted = "" }, "unknown policy"},
		{"no end", func(c *loadgen.Config) { c.Lifecycle.Response = loadgen.Until{} }, "unknown end of a response"},
		{"negative end", func(c *loadgen.Config) { c.Lifecycle.Response.Bytes = -1 }, "less than no bytes"},
		{"bad pattern", func(c *loadgen.Config) { c.Lifecycle.Response = loadgen.Until{Kind: loadgen.Match, Pattern: "("} }, "end of the response"},
		{"two closers", func(c *loadgen.Config) { c.Lifecycle.Response = loadgen.Until{Kind: loadgen.PeerFIN} }, "leaves nothing for the client to close"},
		{"only connects, server closes", func(c *loadgen.Config) {
			c.Lifecycle.ConnectOnly, c.Lifecycle.CloseBy = true, wire.Server
		}, "close by client"},
		{"waits after RST", func(c *loadgen.Config) {
			c.Lifecycle.CloseWait, c.Lifecycle.CloseHow = true, wire.RST
		}, "only a client that closes by FIN"},
		{"waits for the server", func(c *loadgen.Config) {
			c.Lifecycle.CloseWait, c.Lifecycle.CloseBy = true, wire.Server
		}, "only a client that closes by FIN"},
		{"no source of the family", func(c *loadgen.Config) { c.Sources = pace.Sources{netip.IPv6Loopback()} }, "add one to --sources"},
		{"negative loops", func(c *loadgen.Config) { c.Loops = -1 }, "loops"},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer func() {
				if p := recover(); p != nil {
					t.Errorf("panic: %v", p)
				}
			}()
			cfg := loadgen.Config{
				Targets: to(netip.MustParseAddrPort("127.0.0.1:1")), Process: pace.Closed, Connections: 1, Count: 1,
				Timeout: time.Second, OnExhausted: loadgen.CountExhausted, Lifecycle: echo(1, wire.Client, wire.FIN),
			}
			c.change(&cfg)
			_, err := Engine{}.Run(context.Background(), cfg, loadgen.Observer{})
			if err == nil || !strings.HasPrefix(err.Error(), "load: ") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want an error with %q", err, c.want)
			}
		})
	}
}

// No bound is a time so far away that nobody meant it as one.
func TestHugeDurationsDoNotWrapAround(t *testing.T) {
	watchLeaks(t)
	h := serve(t, "127.0.0.1:0", after(4, func(c *tcp) error {
		time.Sleep(5 * time.Millisecond) // some turns of the loop, some ticks of its wheel
		return says("echo", reads)(c)
	}))
	for _, c := range []struct{ warmup, duration, timeout time.Duration }{
		{0, 0, math.MaxInt64},
		{0, math.MaxInt64, time.Second},
		{0, math.MaxInt64, math.MaxInt64},
	} {
		cfg := loadgen.Config{
			Targets: to(h.addr), Count: 20, Lifecycle: echo(4, wire.Client, wire.FIN),
			Warmup: c.warmup, Duration: c.duration, Timeout: c.timeout,
		}
		if got := load(context.Background(), t, cfg); got.ends() != allSucceeded(20) {
			t.Errorf("%+v: %s", c, got.ends())
		}
	}
}

func TestHello(t *testing.T) {
	watchLeaks(t)
	hello := func(then peer) peer { return after(wire.HeaderSize, then) }
	reply := string(wire.Script{Kind: wire.HelloReply, RequestSize: 7, ResponseSize: 8}.Append(nil))
	newer := string(wire.Script{Kind: wire.HelloReply, RequestSize: 7, ResponseSize: 8, Exchanges: 2}.Append(nil))
	newest := string(wire.Script{Kind: wire.HelloReply, RequestSize: 7, ResponseSize: 8, Exchanges: 3}.Append(nil))
	for _, c := range []struct {
		name    string
		play    peer
		foreign bool
		want    string
	}{
		{"tcpbench that refuses by words", hello(says(newer, reads)), false, ""},
		{"tcpbench that sends a pattern", hello(says(newest, reads)), false, ""},
		{"tcpbench that refuses", hello(says(words(wire.NoDescriptors), closes)), false, "refuses connections (server_descriptors)"},
		{"tcpbench", hello(says(reply, reads)), false, ""},
		{"tcpbench in pieces", hello(inPieces(reply, reads)), false, ""},
		{"echo", echoes, true, "it sent"},
		{"another version", hello(says("tb\x04\x20000000000000", reads)), true, "it sent"},
		{"http", hello(says("HTTP/1.1 400 Bad Request\r\n\r\n", closes)), true, "it sent"},
		{"closes", hello(closes), true, "EOF"},
		{"half an answer", hello(says("tb\x01\x20", closes)), true, "unexpected EOF"},
		{"resets", hello(resets), true, "reset"},
	} {
		t.Run(c.name, func(t *testing.T) {
			limits, err := Hello(context.Background(), serve(t, "127.0.0.1:0", c.play).addr, patience)
			if c.want == "" {
				if err != nil || limits != (Limits{RequestSize: 7, ResponseSize: 8, Refusals: strings.HasPrefix(c.name, "tcpbench that"), Pattern: c.name == "tcpbench that sends a pattern"}) {
					t.Errorf("%+v, %v", limits, err)
				}
				return
			}
			if err == nil || errors.Is(err, ErrForeign) != c.foreign || errors.Is(err, ErrRefused) == c.foreign ||
				!strings.Contains(err.Error(), c.want) && !strings.Contains(err.Error(), "broken pipe") {
				t.Errorf("%v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestHelloGivesUp(t *testing.T) {
	watchLeaks(t)
	_, err := Hello(context.Background(), closed(t, "127.0.0.1:0"), patience)
	if !errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, ErrForeign) {
		t.Errorf("nobody is there: %v", err)
	}
	silent := mute(t, "127.0.0.1:0", 8)
	if _, err := Hello(context.Background(), silent, 30*time.Millisecond); !errors.Is(err, ErrForeign) {
		t.Errorf("somebody is there and says nothing: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := Hello(ctx, silent, patience); err == nil || errors.Is(err, ErrForeign) {
		t.Errorf("cancelled: %v", err)
	}
}
