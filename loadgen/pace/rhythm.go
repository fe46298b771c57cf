package pace

import (
	"math/bits"
	"math/rand/v2"
	"time"

	"tcpbench/internal/random"
)

// Stream is one use of random numbers. Each has a generator of its own: whatever else a run draws,
// the same seed gives the same schedule, the same gaps and the same samples.
type Stream uint64

// The streams.
const (
	arrivalStream Stream = iota
	gapStream
	EstablishedStream // connections of which the kernel is asked once they are established
	ClosingStream     // connections of which it is asked at their end
	beatStream
)

// Generator returns the generator of a stream for the loop at a place among all loops of the run.
func Generator(seed uint64, place int, s Stream) *rand.PCG {
	return random.New(seed, uint64(place)<<8|uint64(s))
}

// Gaps are the pauses between two exchanges.
type Gaps struct {
	mean   int64
	jitter float64
	random *rand.Rand
}

// NewGaps returns the gaps of the loop at a place. Jitter makes each up to that share of the mean,
// 0 to 1, shorter or longer.
func NewGaps(mean time.Duration, jitter float64, seed uint64, place int) Gaps {
	return Gaps{int64(mean), jitter, rand.New(Generator(seed, place, gapStream))}
}

// Next returns the next gap in nanoseconds.
func (g *Gaps) Next() int64 {
	if g.jitter == 0 || g.mean == 0 {
		return g.mean
	}
	return g.mean + int64(float64(g.mean)*g.jitter*(2*g.random.Float64()-1))
}

// Beats are the times of the heartbeats of a loop's connections: one in each interval.
type Beats struct {
	every   int64
	aligned bool
	stream  uint64
}

// NewBeats returns beats of an interval. Aligned ones are due at its multiples; the others have a
// random phase for each connection, which follows from the seed.
func NewBeats(every time.Duration, aligned bool, seed uint64, place int) Beats {
	return Beats{int64(every), aligned, Generator(seed, place, beatStream).Uint64()}
}

// Next returns the connection's next beat: after now, by one interval at most. The connection is any
// number that no other connection of the loop has; its phase follows from it and takes no memory.
func (b *Beats) Next(now int64, connection uint64) int64 {
	phase := int64(0)
	if !b.aligned {
		high, _ := bits.Mul64(random.Mixed(b.stream+connection), uint64(b.every))
		phase = int64(high)
	}
	return phase + (now-phase+b.every)/b.every*b.every
}
