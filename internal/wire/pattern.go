package wire

import "sync"

// PatternPeriod is the length after which the pattern repeats. It is prime, so no segment size
// divides it: a segment that is lost, repeated or exchanged with another shifts the pattern.
const PatternPeriod = 65521

// pattern holds the period twice, so that a piece may begin anywhere in it. The letter that
// begins a header is not in it: no piece of a response looks like a Refusal.
var pattern = sync.OnceValue(func() []byte {
	b := make([]byte, 2*PatternPeriod)
	for i, x := 0, uint32(1); i < PatternPeriod; i++ {
		x ^= x << 13 // xorshift32 (Marsaglia, 2003)
		x ^= x >> 17
		x ^= x << 5
		if b[i] = byte(x >> 16); b[i] == magic0 {
			b[i] = 0
		}
	}
	copy(b[PatternPeriod:], b)
	return b
})

// Pattern returns the bytes of a patterned stream from a position on, n of them, or PatternPeriod if that is less. Position
// 0 is the first byte of a connection's first response; each further response goes on where the
// one before it has ended. Nobody may write to them.
func Pattern(at, n uint64) []byte {
	at %= PatternPeriod
	return pattern()[at : at+min(n, PatternPeriod)]
}
