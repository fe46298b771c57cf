package wire

import "sync"

// PatternPeriod is the length after which the pattern repeats. It is prime, so a segment that is lost,
// repeated or exchanged shifts the pattern, whatever its size.
const PatternPeriod = 65521

// pattern has the period twice, so a piece can begin anywhere in it. It does not contain the letter
// that begins a header, so no part of a response looks like a Refusal.
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

// Pattern returns n bytes of the pattern, but at most PatternPeriod, from position at on. Position 0 is
// the first byte of a connection's first response; each response goes on where the last one ended. The
// caller must not change them.
func Pattern(at, n uint64) []byte {
	at %= PatternPeriod
	return pattern()[at : at+min(n, PatternPeriod)]
}
