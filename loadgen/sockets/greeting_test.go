package sockets

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
	"tcpbench/metrics"
)

const ready = "220 ready\r\n"

// expects reads a text and goes on; it resets if something else comes.
func expects(text string, then peer) peer {
	return func(c *tcp) error {
		got := make([]byte, len(text))
		if _, err := io.ReadFull(c, got); err != nil {
			return err
		}
		if string(got) != text {
			return resets(c)
		}
		return then(c)
	}
}

func greeted(text string, end loadgen.Until) *loadgen.Greeting {
	return &loadgen.Greeting{Request: []byte(text), Response: end}
}

// A hello comes once, before the first exchange. It has a stage of its own, and is in no histogram of
// the exchange.
func TestGreeting(t *testing.T) {
	pingPong := asked(says(pong, asked(says(pong, reads))))
	for _, tt := range []struct {
		name  string
		play  peer
		hello *loadgen.Greeting
		ends  string
	}{
		{name: "is answered", play: expects("AUTH x\n", says("+OK\r\n", pingPong)), hello: greeted("AUTH x\n", matching(`\+OK\r\n`))},
		{name: "in pieces", play: expects("AUTH x\n", inPieces("+OK\r\n", pingPong)), hello: greeted("AUTH x\n", matching(`\+OK\r\n`))},
		{name: "by a pattern, in pieces", play: inPieces(ready, pingPong), hello: greeted("", matching(`^220 .*\r\n$`))},
		{name: "one byte", play: expects("SSL?", says("N", pingPong)), hello: greeted("SSL?", atLeast(1))},
		{name: "a greeting is read", play: says(ready, pingPong), hello: greeted("", matching("^220 .*\r\n"))},
		{name: "long", play: expects(strings.Repeat("h", 1<<20), says("+", pingPong)), hello: greeted(strings.Repeat("h", 1<<20), atLeast(1))},
		{name: "is refused", play: expects("AUTH", says("-ERR\r\n", closes)), hello: greeted("AUTH", matching(`\+OK`)), ends: "hello.closed_early"},
		{name: "is reset", play: expects("AUTH", says("-ERR\r\n", resets)), hello: greeted("AUTH", matching(`\+OK`)), ends: "hello.reset"},
		{name: "is not answered", play: expects("AUTH", says("-ERR\r\n", reads)), hello: greeted("AUTH", matching(`\+OK`)), ends: "hello.timeout"},
		{name: "is answered for ever", play: says(strings.Repeat("-", 2*loadgen.MaxMatch), reads), hello: greeted("", matching(`\+OK`)), ends: "hello.unexpected"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			watchLeaks(t)
			cfg := loadgen.Config{Targets: to(serve(t, "127.0.0.1:0", tt.play).addr), Count: 20, Lifecycle: loadgen.Lifecycle{
				Hello: tt.hello, Request: pinged, Again: pinged, Exchanges: 2, Response: matching(pong), CloseBy: wire.Client,
			}}
			if strings.HasSuffix(tt.ends, "timeout") {
				cfg.Timeout, cfg.Connections = 200*time.Millisecond, 20
			}
			if tt.ends != "" {
				cfg.Lifecycle.Exchanges = 1
				if got := load(t.Context(), t, cfg); got.ends() != allFailed(20, tt.ends) {
					t.Error(got.ends())
				} else if h := got.Histograms; h[metrics.HelloTime].Count+h[metrics.FirstByte].Count != 0 {
					t.Errorf("%d hellos, %d first bytes of none", h[metrics.HelloTime].Count, h[metrics.FirstByte].Count)
				}
				return
			}
			got := load(t.Context(), t, cfg)
			if got.ends() != allSucceeded(20) {
				t.Error(got.ends())
			}
			for name, want := range map[string]uint64{metrics.HelloTime: 20, metrics.FirstByte: 40, metrics.ExchangeTime: 40} {
				if n := got.count(name); n != want {
					t.Errorf("%s has %d samples, want %d", name, n, want)
				}
			}
		})
	}
}

// A server of any protocol can have a heartbeat, however its answers end. Late answers come together,
// and each counts for its own beat.
func TestForeignHeartbeats(t *testing.T) {
	const answer = "+PONG\r\n"
	for name, end := range map[string]loadgen.Until{"literal": matching(`\+PONG\r\n`), "pattern": matching(`\+PO.G\r\n`), "bytes": atLeast(7)} {
		for _, together := range []int{1, 3} { // pings that are answered at once
			t.Run(fmt.Sprint(name, together), func(t *testing.T) {
				t.Parallel()
				h := serve(t, "127.0.0.1:0", func(c *tcp) error {
					in := bufio.NewScanner(c)
					for n := 1; in.Scan(); n++ {
						if n%together == 0 {
							_, _ = io.WriteString(c, strings.Repeat(answer, together))
						}
					}
					return closes(c)
				})
				ping := []byte("PING\r\n")
				got, err := Engine{}.Run(t.Context(), filledIn(loadgen.Config{
					Targets: to(h.addr), Process: pace.Hold, Connections: 6, Loops: 1, HoldFor: 400 * time.Millisecond,
					Lifecycle: loadgen.Lifecycle{
						Request: ping, Again: ping, Response: end, CloseBy: wire.Client, StayToEnd: true,
						Beat: &loadgen.Heartbeat{Every: 20 * time.Millisecond, Missed: 100, Design: loadgen.ClientPings},
					},
				}), loadgen.Observer{})
				if err != nil {
					t.Fatal(err)
				}
				// The last ones of each connection may still be unanswered at the end.
				b, most := got.Beats, got.Beats.Missed
				if together > 1 {
					most = 6 * uint64(together-1)
				}
				if b.Answered < 6*uint64(together) || b.Sent-b.Answered > most || together > 1 && b.Missed == 0 {
					t.Errorf("%+v, %v", b, got.Failed)
				}
				if together == 1 && got.Succeeded != 6 {
					t.Errorf("%v, %v", got.Tally, got.Failed)
				}
				if n := got.Histograms[metrics.Heartbeat].Count; uint64(n) != b.Answered {
					t.Errorf("%d times, %+v", n, b)
				}
			})
		}
	}
}
