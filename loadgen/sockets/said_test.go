package sockets

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/metrics"
)

// What a server said before a connection fails is kept.
func TestWhatServersSaidIsKept(t *testing.T) {
	const denied = "-DENIED\r\nbye\\"
	wanted := loadgen.Lifecycle{Request: pinged, Response: matching("PONG"), CloseBy: wire.Client}
	enough, closed, stays := wanted, wanted, wanted
	enough.Response = atLeast(100)
	closed.Response, closed.CloseBy = atClose, wire.Server
	stays.Response, stays.StayToEnd = atLeast(1), true
	for _, tt := range []struct {
		name string
		play peer
		life loadgen.Lifecycle
		ends string
		said string
	}{
		{"closed", asked(says(denied, closes)), wanted, "exchange.closed_early", denied},
		{"closed, in pieces", asked(inPieces(denied, closes)), wanted, "exchange.closed_early", denied},
		{"too short", asked(says(denied, closes)), enough, "exchange.closed_early", denied},
		{"reset", asked(says(denied, resets)), enough, "exchange.reset", denied},
		{"silent after it", asked(says(denied, forgets)), wanted, "exchange.timeout", denied},
		{"not closed after it", asked(says(denied, forgets)), closed, "exchange.timeout", denied},
		{"without end", asked(says(strings.Repeat("x", 2*loadgen.MaxMatch), forgets)), wanted, "exchange.unexpected", strings.Repeat("x", 256)},
		{"nothing", asked(closes), wanted, "exchange.closed_early", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			watchLeaks(t)
			cfg := loadgen.Config{Targets: to(serve(t, "127.0.0.1:0", tt.play).addr), Count: 20, Lifecycle: tt.life}
			if strings.HasSuffix(tt.ends, "timeout") {
				cfg.Timeout, cfg.Connections = 200*time.Millisecond, 20
			}
			got := load(t.Context(), t, cfg)
			if got.ends() != allFailed(20, tt.ends) {
				t.Error(got.ends())
			}
			if tt.said == "" {
				if got.Said != nil {
					t.Errorf("%+v of a mute server", got.Said)
				}
				return
			}
			want := metrics.SaidText{Failure: tt.ends, Text: metrics.Escape([]byte(tt.said)), Count: 20}
			if got.Said == nil || len(got.Said.Texts) != 1 || got.Said.Texts[0] != want || got.Said.Others != 0 {
				t.Errorf("%+v, want %+v", got.Said, want)
			}
		})
	}
}

// A bounded number of different answers is kept, many failures are sampled, and nothing is kept of
// connections that succeed.
func TestSaidIsBounded(t *testing.T) {
	watchLeaks(t)
	var n atomic.Int64
	h := serve(t, "127.0.0.1:0", asked(func(c *tcp) error { return says(fmt.Sprintf("error %d", n.Add(1)%30), closes)(c) }))
	life := loadgen.Lifecycle{Request: pinged, Response: matching("PONG"), CloseBy: wire.Client}
	const count = saidFirst + 20*saidEvery
	got := load(t.Context(), t, loadgen.Config{Targets: to(h.addr), Sources: sources(t, "127.0.0.2-127.0.0.9"), Count: count, Loops: 1, Lifecycle: life})
	if got.ends() != allFailed(count, "exchange.closed_early") {
		t.Fatal(got.ends())
	}
	if s := got.Said; len(s.Texts) != 16 || s.Others == 0 || s.Sampled() != saidFirst+20 {
		t.Errorf("%d texts, %d others, %d in all", len(s.Texts), s.Others, s.Sampled())
	}
	life.Response = matching("error")
	if got := load(t.Context(), t, loadgen.Config{Targets: to(h.addr), Count: 100, Lifecycle: life}); got.Said != nil {
		t.Errorf("%+v of connections that succeed", got.Said)
	}
}

// If more answers come at once than there is memory for, some are kept, and the memory is used again.
func TestSaidOfManyAtOnce(t *testing.T) {
	watchLeaks(t)
	h := serve(t, "127.0.0.1:0", asked(says("no", forgets)))
	cfg := loadgen.Config{
		Targets: to(h.addr), Connections: 3 * saidOpen, Count: 6 * saidOpen, Loops: 1, Timeout: 300 * time.Millisecond,
		Lifecycle: loadgen.Lifecycle{Request: pinged, Response: atLeast(3), CloseBy: wire.Client},
	}
	got := load(t.Context(), t, cfg)
	if got.ends() != allFailed(6*saidOpen, "exchange.timeout") {
		t.Fatal(got.ends())
	}
	if n := got.Said.Sampled(); n <= saidOpen || n > 6*saidOpen {
		t.Errorf("%d answers of %d", n, 6*saidOpen)
	}
}
