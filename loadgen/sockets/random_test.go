package sockets

import (
	"math"
	"net/netip"
	"slices"
	"testing"
	"time"

	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
)

// Whatever rotates, the sample does not follow it: each residue is picked about equally often. One
// of each group is picked, so that the number of picks is known.
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

// Jitter does not change when connections are due, and Poisson arrivals do not change the gaps.
func TestJitterAndArrivalsAreIndependent(t *testing.T) {
	plan := func(process pace.Process, jitter float64) (due, gaps []int64) {
		life := echo(2, wire.Client, wire.FIN)
		life.Gap, life.Jitter = time.Millisecond, jitter
		cfg := loadgen.Config{
			Targets: to(netip.MustParseAddrPort("127.0.0.1:9")), Process: process, Profile: pace.Profile{{From: 1000 * pace.PerSecond, To: 1000 * pace.PerSecond}}, Connections: 8, Loops: 1, Seed: 11,
			Duration: time.Second, Timeout: patience, Lifecycle: life, OnExhausted: loadgen.CountExhausted,
		}
		l, _ := manualLoop(t, cfg)
		for range 5 {
			due = append(due, l.arrivals.Due)
			l.arrivals.Advance()
			gaps = append(gaps, l.gap())
		}
		return due, gaps
	}
	plain, _ := plan(pace.Poisson, 0)
	jittered, gaps := plan(pace.Poisson, 0.5)
	_, constant := plan(pace.Constant, 0.5)
	if !slices.Equal(plain, jittered) {
		t.Errorf("arrivals %v with jitter, %v without", jittered, plain)
	}
	if !slices.Equal(gaps, constant) {
		t.Errorf("gaps %v of Poisson arrivals, %v of constant ones", gaps, constant)
	}
}
