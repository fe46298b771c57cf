package sockets

import (
	"math"
	"testing"

	"tcpbench/loadgen/pace"
)

// The sample does not follow what rotates: each source is picked about equally often, and one event
// of each group.
func TestSampleDoesNotFollowARotation(t *testing.T) {
	const groups = 64_000
	for _, sources := range []int{2, 8, 32, 64, 128, 254} {
		s := newSampler(pace.Generator(1, 0, pace.EstablishedStream))
		picked := make([]int, sources)
		for i := range groups * infoSample {
			if s.take() {
				picked[i%sources]++
			}
		}
		total := 0
		// Six standard deviations of a binomial count.
		mean := float64(groups) / float64(sources)
		for source, n := range picked {
			total += n
			if math.Abs(float64(n)-mean) > 6*math.Sqrt(mean) {
				t.Errorf("%d sources: number %d is picked %d times, want about %.0f", sources, source, n, mean)
			}
		}
		if total != groups {
			t.Errorf("%d picked of %d groups", total, groups)
		}
	}
}
