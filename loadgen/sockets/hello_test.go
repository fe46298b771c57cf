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

// What Validate finds wrong, and a target without a source, is an error of Run.
func TestRunRefuses(t *testing.T) {
	cfg := filledIn(loadgen.Config{Targets: to(netip.MustParseAddrPort("127.0.0.1:1")), Count: 1, Lifecycle: echo(1, wire.Client, wire.FIN)})
	lonely, endless := cfg, cfg
	lonely.Sources, endless.Count = pace.Sources{netip.IPv6Loopback()}, 0
	for want, cfg := range map[string]loadgen.Config{"add one to --sources": lonely, "neither a duration nor a count": endless} {
		_, err := Engine{}.Run(t.Context(), cfg, loadgen.Observer{})
		if err == nil || !strings.HasPrefix(err.Error(), "load: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error with %q", err, want)
		}
	}
}

// A time that is too long to be meant does not bound the run.
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
