package pace

import (
	"math/rand/v2"

	"tcpbench/internal/random"
)

// stream is one use of random numbers. Each has a generator of its own: whatever else a run draws,
// the same seed gives the same schedule, the same gaps and the same samples.
type stream uint64

const (
	arrivalStream stream = iota
	GapStream
	EstablishedStream
	ClosingStream
	PhaseStream
)

// Generator returns the generator of a stream for the loop at a place among all loops of the run.
func Generator(seed uint64, place int, s stream) *rand.PCG {
	return random.New(seed, uint64(place)<<8|uint64(s))
}
