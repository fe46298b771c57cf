package server

import (
	"math/bits"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tcpbench/internal/wire"
)

var testLimits = Config{MaxRequest: 1000, MaxResponse: 2000}

// play feeds the stream in the given pieces and sums up what is due.
func play(c *conn, pieces ...[]byte) (total due) {
	for _, b := range pieces {
		d := c.handle(b, &testLimits)
		total.hello = total.hello || d.hello
		total.exchanges += d.exchanges
		total.bytes += d.bytes
		total.beats += d.beats
	}
	return total
}

func drawScript(t *rapid.T) wire.Script {
	return wire.Script{
		CloseBy:      wire.Closer(rapid.IntRange(0, 2).Draw(t, "closer")),
		CloseHow:     wire.How(rapid.IntRange(0, 1).Draw(t, "how")),
		RequestSize:  rapid.Uint32Range(0, 40).Draw(t, "request"),
		ResponseSize: rapid.Uint32Range(0, 40).Draw(t, "response"),
		Exchanges:    rapid.Uint16Range(0, 5).Draw(t, "exchanges"),
	}
}

func cut(t *rapid.T, b []byte) (pieces [][]byte) {
	for len(b) > 0 {
		n := rapid.IntRange(1, len(b)).Draw(t, "cut")
		pieces = append(pieces, b[:n])
		b = b[n:]
	}
	return pieces
}

// TCP keeps no boundaries: however a stream is cut, it means the same.
func TestCutsDoNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stream := drawScript(t).Append(nil)
		stream = append(stream, make([]byte, rapid.IntRange(0, 300).Draw(t, "payload"))...)
		if rapid.Bool().Draw(t, "spoil") {
			stream[rapid.IntRange(0, 15).Draw(t, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		}
		var whole, pieces conn
		want, got := play(&whole, stream), play(&pieces, cut(t, stream)...)
		whole.head, pieces.head = [wire.HeaderSize]byte{}, [wire.HeaderSize]byte{}
		whole.renew, pieces.renew = false, false
		if whole.state == closed { // how far the header had come is no matter then
			whole.have, pieces.have = 0, 0
		}
		// The one exception: bytes that come after the server has closed are never seen.
		if whole.end == ExcessData && pieces.end == Completed && whole.script.CloseBy != wire.Client {
			pieces.end = ExcessData
		}
		if want != got || whole != pieces {
			t.Fatalf("whole: %+v %+v\npieces: %+v %+v", want, whole, got, pieces)
		}
	})
}

// A second opinion on the arithmetic: one exchange after the other.
func TestScriptIsPlayedByTheBook(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		script := drawScript(t)
		payload := rapid.IntRange(0, 300).Draw(t, "payload")
		var c conn
		got := play(&c, append(script.Append(nil), make([]byte, payload)...))

		if script.CloseBy != wire.Client && script.Exchanges == 0 ||
			script.RequestSize == 0 && script.Exchanges > 1 {
			if c.end != ImpossibleScript {
				t.Fatalf("%+v ended by %s", script, c.end)
			}
			return
		}
		var n int
		for rest := payload; ; n++ {
			if script.Exchanges > 0 && n == int(script.Exchanges) || script.RequestSize == 0 && n == 1 {
				switch {
				case rest > 0:
					wantEnd(t, &c, ExcessData)
				case script.CloseBy != wire.Client:
					wantEnd(t, &c, Completed)
				default:
					wantState(t, &c, farewell)
				}
				break
			}
			if rest < int(script.RequestSize) {
				want := request
				if rest == 0 && n > 0 {
					want = idle
				}
				wantState(t, &c, want)
				break
			}
			rest -= int(script.RequestSize)
		}
		if want := (due{exchanges: uint64(n), bytes: uint64(n) * uint64(script.ResponseSize)}); got != want {
			t.Fatalf("%+v with %d bytes of payload earns %+v, want %+v", script, payload, got, want)
		}
	})
}

func wantEnd(t *rapid.T, c *conn, why Reason) {
	t.Helper()
	if c.state != closed || c.end != why {
		t.Fatalf("%s, end %s; want %s", states[c.state].name, c.end, why)
	}
}

func wantState(t *rapid.T, c *conn, want state) {
	t.Helper()
	if c.state != want {
		t.Fatalf("state %s, want %s", states[c.state].name, states[want].name)
	}
}

func TestClosesByThePeer(t *testing.T) {
	twice := wire.Script{RequestSize: 2, Exchanges: 2}
	always := wire.Script{RequestSize: 2, CloseHow: wire.RST}
	byServer := wire.Script{RequestSize: 2, Exchanges: 2, CloseBy: wire.Server}
	for _, tt := range []struct {
		name     string
		script   wire.Script
		bytes    int // header included
		fin, rst Reason
	}{
		{"nothing sent", twice, 0, Unused, Unused},
		{"in the header", twice, 7, PeerClosedEarly, PeerReset},
		{"in the first request", twice, 17, PeerClosedEarly, PeerReset},
		{"between exchanges", twice, 18, PeerClosedEarly, PeerReset},
		{"in the last request", twice, 19, PeerClosedEarly, PeerReset},
		{"after the last exchange", twice, 20, Completed, PeerReset},
		{"between exchanges without end", always, 18, PeerClosedEarly, Completed},
		{"in a request without end", always, 19, PeerClosedEarly, PeerReset},
		{"before the server's close", byServer, 18, PeerClosedEarly, PeerReset},
		{"after a hello", wire.Script{Kind: wire.Hello}, 16, Hello, PeerReset},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stream := append(tt.script.Append(nil), make([]byte, 100)...)[:tt.bytes]
			var byFIN, byRST conn
			play(&byFIN, stream)
			play(&byRST, stream)
			byFIN.leave(wire.FIN)
			byRST.leave(wire.RST)
			if byFIN.end != tt.fin || byRST.end != tt.rst {
				t.Errorf("FIN counts as %s, want %s; RST as %s, want %s", byFIN.end, tt.fin, byRST.end, tt.rst)
			}
		})
	}
}

func TestEveryStateIsReachedAndEnds(t *testing.T) {
	var reached uint16 = 1<<header | 1<<echo // where connections begin
	for _, s := range states {
		reached |= s.next
		if s.name != "closed" && s.next&(1<<closed) == 0 {
			t.Errorf("no way from %s to closed", s.name)
		}
	}
	if bits.OnesCount16(reached) != int(nstates) {
		t.Errorf("reached %#b of %d states", reached, nstates)
	}
}

func TestReasonsHaveNames(t *testing.T) {
	var names []string
	for r := range nreasons {
		if r.String() == "" || slices.Contains(names, r.String()) {
			t.Errorf("reason %d is called %q", r, r)
		}
		names = append(names, r.String())
	}
}

func TestHandleDoesNotAllocate(t *testing.T) {
	stream := opening(wire.Script{RequestSize: 64, ResponseSize: 64, Exchanges: 1})
	if n := testing.AllocsPerRun(100, func() {
		var c conn
		c.handle(stream[:20], &testLimits)
		c.handle(stream[20:], &testLimits)
		c.leave(wire.FIN)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
