package sockets

import (
	"bytes"
	"slices"
	"testing"

	"tcpbench/internal/wire"
	"tcpbench/loadgen"
)

// patterned is the content of responses of that many bytes.
func patterned(n int) (b []byte) {
	for len(b) < n {
		b = append(b, wire.Pattern(uint64(len(b)), uint64(n-len(b)))...)
	}
	return b
}

// Responses of the right bytes in the right order succeed. Every kind of mistake that TCP must not
// make is found, even if the number of bytes is right.
func TestContent(t *testing.T) {
	const size, exchanges, segment = 100_000, 2, 1448
	right := patterned(size * exchanges)
	edit := func(f func(b []byte)) []byte {
		b := slices.Clone(right)
		f(b)
		return b
	}
	for _, tt := range []struct {
		name string
		sent []byte
		ends string
	}{
		{name: "right", sent: right},
		{"zeros", make([]byte, size*exchanges), "exchange.corrupted"},
		{"one bit", edit(func(b []byte) { b[size+77] ^= 1 }), "exchange.corrupted"},
		{"a segment twice, in place of the next", edit(func(b []byte) { copy(b[11*segment:12*segment], b[10*segment:]) }), "exchange.corrupted"},
		{"a segment is missing", append(slices.Delete(slices.Clone(right), 5*segment, 6*segment), make([]byte, segment)...), "exchange.corrupted"},
		{"two segments in the wrong order", edit(func(b []byte) {
			first := slices.Clone(b[7*segment : 8*segment])
			copy(b[7*segment:8*segment], b[8*segment:])
			copy(b[8*segment:], first)
		}), "exchange.corrupted"},
		{"the second response begins the pattern anew", edit(func(b []byte) { copy(b[size:], b[:size]) }), "exchange.corrupted"},
		{"a byte more", append(slices.Clone(right), patterned(size*exchanges + 1)[size*exchanges]), "exchange.unexpected"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			life := loadgen.Scripted(wire.Script{RequestSize: 1, ResponseSize: size, Exchanges: exchanges, Pattern: true})
			life.Pipeline = true
			requests := slices.Concat(life.Request, bytes.Repeat(life.Again, exchanges-1))
			h := serve(t, "127.0.0.1:0", expects(string(requests), says(string(tt.sent), reads)))
			got := load(t.Context(), t, loadgen.Config{Targets: to(h.addr), Connections: 1, Loops: 1, Count: 3, Lifecycle: life})
			switch {
			case tt.ends == "" && (got.ends() != allSucceeded(3) || got.CheckedBytes != 3*size*exchanges):
				t.Errorf("%s, %d bytes checked", got.ends(), got.CheckedBytes)
			case tt.ends != "" && got.ends() != allFailed(3, tt.ends):
				t.Error(got.ends())
			}
		})
	}
}
