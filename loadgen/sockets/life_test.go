package sockets

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"tcpbench/internal/alone"
	"tcpbench/internal/wire"
	"tcpbench/loadgen"
)

// A life is what the server does, what the client expects, and how every attempt then ends.
type life struct {
	name string
	play peer
	loadgen.Lifecycle
	// ends is the failure of every attempt; empty if all succeed.
	ends string
	// timeout is set if a deadline must pass: long enough for the stages before.
	timeout time.Duration
	// aborts is set if the server must see a RST on every connection.
	aborts bool
}

const ping, pong = "ping", "pong!"

var (
	pinged  = []byte(ping)
	isPong  = loadgen.Until{Kind: loadgen.Exactly, Bytes: int64(len(pong))}
	atClose = loadgen.Until{Kind: loadgen.PeerFIN}
)

// asked goes on once the ping is there, answers sends the pong for it first.
func asked(then peer) peer   { return after(len(ping), then) }
func answers(then peer) peer { return asked(says(pong, then)) }

func atLeast(n int64) loadgen.Until      { return loadgen.Until{Kind: loadgen.AtLeast, Bytes: n} }
func exactly(n int64) loadgen.Until      { return loadgen.Until{Kind: loadgen.Exactly, Bytes: n} }
func matching(text string) loadgen.Until { return loadgen.Until{Kind: loadgen.Match, Pattern: text} }

// Lives by who closes, and how.
var closers = []life{
	{name: "client closes", play: answers(reads), Lifecycle: loadgen.Lifecycle{Request: pinged, Response: isPong}},
	{name: "client resets", play: answers(reads), aborts: true,
		Lifecycle: loadgen.Lifecycle{Request: pinged, Response: isPong, CloseHow: wire.RST}},
	{name: "client waits", play: answers(reads), Lifecycle: loadgen.Lifecycle{Request: pinged, Response: isPong, CloseWait: true}},
	{name: "client waits, server resets", play: answers(func(c *tcp) error { _ = reads(c); return resets(c) }),
		Lifecycle: loadgen.Lifecycle{Request: pinged, Response: isPong, CloseWait: true}, ends: "close.reset"},
	{name: "client waits, server talks on", play: answers(says(strings.Repeat("x", 5*readSize), reads)),
		Lifecycle: loadgen.Lifecycle{Request: pinged, Response: atLeast(5), CloseWait: true}},
	{name: "client waits, server talks after its FIN", play: answers(func(c *tcp) error {
		_ = reads(c)
		return says(strings.Repeat("x", 5*readSize), closes)(c)
	}), Lifecycle: loadgen.Lifecycle{Request: pinged, Response: isPong, CloseWait: true}},
	{name: "client waits, server forgets", play: answers(forgets),
		Lifecycle: loadgen.Lifecycle{Request: pinged, Response: isPong, CloseWait: true}, ends: "close.timeout", timeout: 500 * time.Millisecond},
	{name: "server closes half, client closes", play: answers(closesHalf), Lifecycle: loadgen.Lifecycle{Request: pinged, Response: isPong}},
	{name: "server closes half, client waits", play: answers(closesHalf), Lifecycle: loadgen.Lifecycle{Request: pinged, Response: isPong, CloseWait: true}},

	{name: "server closes", play: answers(closes), Lifecycle: loadgen.Lifecycle{Request: pinged, Response: isPong, CloseBy: wire.Server}},
	{name: "server closes half", play: answers(closesHalf), Lifecycle: loadgen.Lifecycle{Request: pinged, Response: isPong, CloseBy: wire.Server}},
	{name: "server resets", play: answers(resets),
		Lifecycle: loadgen.Lifecycle{Request: pinged, Response: isPong, CloseBy: wire.Server, CloseHow: wire.RST}},
	{name: "server resets instead", play: answers(resets),
		Lifecycle: loadgen.Lifecycle{Request: pinged, Response: isPong, CloseBy: wire.Server}, ends: "close.reset"},
	{name: "server closes instead", play: answers(closes),
		Lifecycle: loadgen.Lifecycle{Request: pinged, Response: isPong, CloseBy: wire.Server, CloseHow: wire.RST}, ends: "close.unexpected"},
	{name: "server forgets", play: answers(forgets),
		Lifecycle: loadgen.Lifecycle{Request: pinged, Response: isPong, CloseBy: wire.Server}, ends: "close.timeout", timeout: 500 * time.Millisecond},
	{name: "client resets after the server's FIN", play: answers(closesHalf), aborts: true,
		Lifecycle: loadgen.Lifecycle{Request: pinged, Response: isPong, CloseHow: wire.RST}},

	{name: "only connects", play: reads, Lifecycle: loadgen.Lifecycle{ConnectOnly: true}},
	{name: "only connects, and resets", play: reads, aborts: true, Lifecycle: loadgen.Lifecycle{ConnectOnly: true, CloseHow: wire.RST}},
	{name: "only connects, and waits", play: reads, Lifecycle: loadgen.Lifecycle{ConnectOnly: true, CloseWait: true}},
}

// Lives by how the end of the response is known.
var responses = []life{
	{name: "until the close", play: answers(closes), Lifecycle: loadgen.Lifecycle{Request: pinged, Response: atClose, CloseBy: wire.Server}},
	{name: "until half the close", play: answers(closesHalf), Lifecycle: loadgen.Lifecycle{Request: pinged, Response: atClose, CloseBy: wire.Server}},
	{name: "until the close, which is RST", play: answers(resets),
		Lifecycle: loadgen.Lifecycle{Request: pinged, Response: atClose, CloseBy: wire.Server}, ends: "exchange.reset"},
	{name: "until the RST", play: answers(resets),
		Lifecycle: loadgen.Lifecycle{Request: pinged, Response: atClose, CloseBy: wire.Server, CloseHow: wire.RST}},
	{name: "until the RST, which is FIN", play: answers(closes),
		Lifecycle: loadgen.Lifecycle{Request: pinged, Response: atClose, CloseBy: wire.Server, CloseHow: wire.RST}, ends: "close.unexpected"},
	{name: "until the close, which never comes", play: answers(forgets),
		Lifecycle: loadgen.Lifecycle{Request: pinged, Response: atClose, CloseBy: wire.Server}, ends: "exchange.timeout", timeout: 500 * time.Millisecond},
	{name: "until the close, without a response", play: asked(closes),
		Lifecycle: loadgen.Lifecycle{Request: pinged, Response: atClose, CloseBy: wire.Server}, ends: "exchange.closed_early"},
	{name: "until the RST, without a response", play: asked(resets),
		Lifecycle: loadgen.Lifecycle{Request: pinged, Response: atClose, CloseBy: wire.Server, CloseHow: wire.RST}, ends: "exchange.reset"},
	{name: "listens until the close", play: closes, Lifecycle: loadgen.Lifecycle{Response: atClose, CloseBy: wire.Server}},

	{name: "at least", play: answers(reads), Lifecycle: loadgen.Lifecycle{Request: pinged, Response: atLeast(3)}},
	{name: "at least, in pieces", play: inPieces(pong, reads), Lifecycle: loadgen.Lifecycle{Request: pinged, Response: atLeast(5)}},
	{name: "at least, closes early", play: answers(closes), Lifecycle: loadgen.Lifecycle{Request: pinged, Response: atLeast(6)}, ends: "exchange.closed_early"},

	{name: "matches", play: answers(reads), Lifecycle: loadgen.Lifecycle{Request: pinged, Response: matching("^p.ng!$")}},
	{name: "matches in pieces", play: inPieces(pong, reads), Lifecycle: loadgen.Lifecycle{Request: pinged, Response: matching("ng!")}},
	{name: "does not match", play: answers(closes), Lifecycle: loadgen.Lifecycle{Request: pinged, Response: matching("ping")}, ends: "exchange.closed_early"},
	{name: "does not match for long", play: asked(says(strings.Repeat("x", 2*loadgen.MaxMatch), reads)),
		Lifecycle: loadgen.Lifecycle{Request: pinged, Response: matching("ping")}, ends: "exchange.unexpected"},

	{name: "exactly", play: answers(reads), Lifecycle: loadgen.Lifecycle{Request: pinged, Response: isPong}},
	{name: "exactly, in pieces", play: asked(inPieces(pong, reads)), Lifecycle: loadgen.Lifecycle{Request: pinged, Response: isPong}},
	{name: "exactly, with FIN", play: answers(closes), Lifecycle: loadgen.Lifecycle{Request: pinged, Response: isPong}},
	{name: "exactly a buffer", play: asked(says(strings.Repeat("x", readSize), reads)), Lifecycle: loadgen.Lifecycle{Request: pinged, Response: exactly(readSize)}},
	{name: "exactly a buffer, with FIN", play: asked(says(strings.Repeat("x", readSize), closes)),
		Lifecycle: loadgen.Lifecycle{Request: pinged, Response: exactly(readSize), CloseBy: wire.Server}},
	{name: "exactly many buffers, with FIN", play: asked(says(strings.Repeat("x", 20*readSize), closes)),
		Lifecycle: loadgen.Lifecycle{Request: pinged, Response: exactly(20 * readSize), CloseBy: wire.Server}},
	{name: "too much", play: asked(says(pong+pong, reads)), Lifecycle: loadgen.Lifecycle{Request: pinged, Response: isPong}, ends: "exchange.unexpected"},
	{name: "exactly nothing", play: reads, Lifecycle: loadgen.Lifecycle{Request: pinged, Response: exactly(0)}},
	{name: "exactly nothing, server closes", play: asked(closes), Lifecycle: loadgen.Lifecycle{Request: pinged, Response: exactly(0), CloseBy: wire.Server}},

	{name: "closes before the response", play: asked(closes), Lifecycle: loadgen.Lifecycle{Request: pinged, Response: isPong}, ends: "exchange.closed_early"},
	{name: "closes within the response", play: asked(says("pon", closes)), Lifecycle: loadgen.Lifecycle{Request: pinged, Response: isPong}, ends: "exchange.closed_early"},
	{name: "resets at once", play: resets, Lifecycle: loadgen.Lifecycle{Request: pinged, Response: isPong}, ends: "exchange.reset"},
	{name: "resets before the response", play: asked(resets), Lifecycle: loadgen.Lifecycle{Request: pinged, Response: isPong}, ends: "exchange.reset"},
	{name: "resets after the response", play: answers(resets), Lifecycle: loadgen.Lifecycle{Request: pinged, Response: isPong}},
	{name: "says nothing", play: forgets, Lifecycle: loadgen.Lifecycle{Request: pinged, Response: isPong}, ends: "exchange.timeout", timeout: 500 * time.Millisecond},
	{name: "speaks first", play: says(pong, reads), Lifecycle: loadgen.Lifecycle{Response: isPong}},
	{name: "speaks first, asked or not", play: says(pong, reads), Lifecycle: loadgen.Lifecycle{Request: pinged, Response: isPong}},
}

func TestClosers(t *testing.T)   { lead(t, closers) }
func TestResponses(t *testing.T) { lead(t, responses) }

// lead plays every life over both families.
func lead(t *testing.T, lives []life) {
	for _, address := range alone.Loopbacks(t) {
		for _, c := range lives {
			t.Run(fmt.Sprint(c.name, " ", netip.MustParseAddrPort(address).Addr()), func(t *testing.T) {
				watchLeaks(t)
				const n = 24
				h := serve(t, address, c.play)
				cfg := loadgen.Config{Targets: to(h.addr), Count: n, Connections: n / 2, Lifecycle: c.Lifecycle, Timeout: c.timeout}
				want := allSucceeded(n)
				if c.ends != "" {
					want = allFailed(n, c.ends)
				}
				if c.timeout > 0 {
					cfg.Connections = n // all at once
				}
				got := load(context.Background(), t, cfg)
				if got.ends() != want {
					t.Errorf("%s\nwant %s", got.ends(), want)
				}
				if got.SYNs != n || got.Established != n {
					t.Errorf("%d SYNs, %d established, want %d of each", got.SYNs, got.Established, n)
				}
				until(t, "every connection to be accepted", func() bool { return h.accepted.Load() == n })
				if c.aborts {
					until(t, "the server to see every RST", func() bool { return h.resets.Load() == n })
				}
			})
		}
	}
}
