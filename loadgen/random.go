package loadgen

import "math/rand/v2"

// stream is one use of random numbers. Each has a generator of its own: whatever else a run draws,
// the same seed gives the same schedule, the same gaps and the same samples.
type stream uint64

const (
	arrivalStream stream = iota
	gapStream
	establishedStream
	closingStream
	phaseStream
)

// generator returns the generator of a stream for the loop at a place among all loops of the run.
func generator(seed uint64, place int, s stream) *rand.PCG {
	return rand.NewPCG(seed, mixed(uint64(place)<<8|uint64(s)))
}

// mixed spreads small numbers over 64 bits (the finalizer of SplitMix64), because generators with
// neighbouring states are not independent.
func mixed(n uint64) uint64 {
	n += 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

// sampler picks one of each infoSample events in a row, at random. A fixed step would pick the
// same source address again and again, because sources rotate.
type sampler struct {
	random       *rand.PCG
	index, picks uint64 // within the present group
}

func newSampler(random *rand.PCG) sampler { return sampler{random: random, index: infoSample} }

// take tells whether the next event is picked.
func (s *sampler) take() bool {
	if s.index == infoSample {
		s.index, s.picks = 0, s.random.Uint64()%infoSample
	}
	picked := s.index == s.picks
	s.index++
	return picked
}
