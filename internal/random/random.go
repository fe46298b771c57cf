// Package random makes a generator of random numbers for each use: the same seed and use give the same
// numbers, whatever else draws some.
package random

import "math/rand/v2"

// New returns the generator of a use, which is a number of the caller's choice. Generators of different
// uses are independent.
func New(seed, use uint64) *rand.PCG { return rand.NewPCG(seed, Mixed(use)) }

// Mixed spreads small numbers over 64 bits (the finalizer of SplitMix64): PCG generators with
// neighbouring states are not independent.
func Mixed(n uint64) uint64 {
	n += 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}
