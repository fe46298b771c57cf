package sockets

import (
	"testing"
	"time"

	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/metrics"
)

// scripted is a life by a header that asks for refusals, or does not.
func scripted(s wire.Script, refusals bool) loadgen.Lifecycle {
	s.Refusals = refusals
	return loadgen.Scripted(s)
}

func words(r wire.Refusal) string { return string(r.Append(nil)) }

// A server that refuses by words is told apart from one that resets or closes, whenever
// its words come; and a client that has not asked for them takes them for what they look like.
func TestRefusals(t *testing.T) {
	none := words(wire.NoDescriptors)
	short := wire.Script{RequestSize: 4, ResponseSize: 64, Exchanges: 1}
	const header = wire.HeaderSize + 4
	equal := short
	equal.ResponseSize = wire.HeaderSize // a response as long as the words
	long := short
	long.RequestSize = 8 << 20 // more than the buffers of both sides
	several := short
	several.Exchanges = 2
	server := short
	server.CloseBy = wire.Server
	held := scripted(short, true)
	held.Stay = time.Minute
	ping := loadgen.Scripted(wire.Script{Kind: wire.Ping, Refusals: true, RequestSize: 4, ResponseSize: 4, Exchanges: 3, Beat: time.Second})
	ping.Beat = &loadgen.Heartbeat{Every: time.Second, Missed: 3, Design: loadgen.ServerPings}
	answer := string(make([]byte, 64))
	lead(t, []life{
		{name: "by FIN", play: after(header, says(none, closes)), Lifecycle: scripted(short, true), ends: "exchange.server_descriptors"},
		{name: "by RST", play: after(header, says(none, resets)), Lifecycle: scripted(short, true), ends: "exchange.server_descriptors"},
		{name: "as long as a response", play: after(header, says(none, closes)), Lifecycle: scripted(equal, true), ends: "exchange.server_descriptors"},
		{name: "the rest unread", play: after(wire.HeaderSize, says(none, closes)), Lifecycle: scripted(long, true), ends: "exchange.server_descriptors"},
		{name: "after a response", play: after(header, says(answer, after(4, says(words(wire.TooFast), closes)))), Lifecycle: scripted(several, true), ends: "exchange.server_rate"},
		{name: "with a response", play: after(header, says(answer+words(wire.TooManyBytes), closes)), Lifecycle: scripted(several, true), ends: "exchange.server_bytes"},
		{name: "while it rests", play: after(header, says(answer, says(words(wire.TooLong), closes))), Lifecycle: held, ends: "exchange.server_life"},
		{name: "in place of the server's close", play: after(header, says(answer, func(c *tcp) error {
			time.Sleep(10 * time.Millisecond) // or both are one segment
			return says(words(wire.TooLong), closes)(c)
		})), Lifecycle: scripted(server, true), ends: "close.server_life"},
		{name: "in place of a ping", play: after(header, says(words(wire.TooManyConnections), closes)), Lifecycle: ping, ends: "exchange.server_connections"},
		{name: "of a later version", play: after(header, says(words(999), closes)), Lifecycle: scripted(short, true), ends: "exchange.server_refused"},
		{name: "a reset without words", play: after(header, resets), Lifecycle: scripted(short, true), ends: "exchange.reset"},
		{name: "not asked for", play: after(header, says(none, closes)), Lifecycle: scripted(short, false), ends: "exchange.closed_early"},
	})
}

// Every refusal that the wire has has an outcome of its own.
func TestRefusalsHaveTheirOutcomes(t *testing.T) {
	seen := map[metrics.Outcome]bool{}
	for r := wire.NoDescriptors; r <= wire.TooLarge; r++ {
		o := outcomeOfRefusal(r)
		if seen[o] || o == metrics.ServerRefused || o == metrics.Succeeded {
			t.Errorf("refusal %d is %s", r, o)
		}
		seen[o] = true
	}
	if o := outcomeOfRefusal(wire.TooLarge + 1); o != metrics.ServerRefused {
		t.Errorf("a refusal that nobody knows is %s", o)
	}
}
