package compare

import (
	"math"
	"slices"
	"sort"
	"sync"

	"github.com/aclements/go-moremath/stats"
)

// test decides by signed ranks whether two sides differ (Wilcoxon 1945). It counts the averages of all
// pairs of differences within rounds (Walsh) on either side of zero, so that test, estimate (Hodges
// and Lehmann) and interval agree.
//
// The order within a round is random. So if the sides are equal the sign of each difference is
// random, whatever the machine does from round to round.
type test struct {
	a, b     []float64 // of each round; logarithms if logs
	logs     bool      // all values are positive, so differences are ratios
	averages []float64 // sorted
}

// newTest takes the values of rounds.
func newTest(a, b []float64) *test {
	t := &test{a: slices.Clone(a), b: slices.Clone(b), logs: true}
	for _, list := range [][]float64{a, b} {
		for _, v := range list {
			t.logs = t.logs && v > 0
		}
	}
	for i := range a {
		if t.logs {
			t.a[i], t.b[i] = math.Log(a[i]), math.Log(b[i])
		}
	}
	for i := range t.a {
		for k := range i + 1 {
			t.averages = append(t.averages, (t.b[i]-t.a[i]+t.b[k]-t.a[k])/2)
		}
	}
	slices.Sort(t.averages)
	return t
}

// mostExact is the most rounds for which probabilities are exact.
const mostExact = 50

// cdf is the probability that at most k averages lie on one side of zero by chance.
func (t *test) cdf(k int) float64 {
	n := len(t.a)
	if n <= mostExact {
		all := signedRanks()[n]
		return all[min(k, len(all)-1)]
	}
	return normalRank(n, k)
}

// normalRank approximates signedRanks.
func normalRank(n, k int) float64 {
	x := float64(n)
	return stats.NormalDist{Mu: x * (x + 1) / 4, Sigma: math.Sqrt(x * (x + 1) * (2*x + 1) / 24)}.CDF(float64(k) + 0.5)
}

// signedRanks has for each n the probabilities that the ranks of n differences with random signs have a
// positive sum of at most k.
var signedRanks = sync.OnceValue(func() (all [mostExact + 1][]float64) {
	p := []float64{1} // that the sum is k
	for n := range all {
		if n > 0 {
			p = append(p, make([]float64, n)...)
			for k := len(p) - 1; k >= 0; k-- {
				p[k] /= 2
				if k >= n {
					p[k] += p[k-n] / 2
				}
			}
		}
		total := 0.0
		for _, x := range p {
			total += x
			all[n] = append(all[n], total)
		}
	}
	return all
})

// p is the probability of such a difference by chance. An average of zero counts on both sides, so
// ties never make a difference.
func (t *test) p() float64 {
	below, above := 0, 0
	for _, c := range t.averages {
		if c <= 0 {
			below++
		}
		if c >= 0 {
			above++
		}
	}
	return min(1, 2*t.cdf(min(below, above)))
}

// interval bounds the difference. Zero lies outside exactly if p is at most the level.
func (t *test) interval(level float64) (low, high float64, ok bool) {
	n := len(t.averages)
	// c + 1 averages may lie on the wrong side.
	c := sort.Search(n/2, func(k int) bool { return 2*t.cdf(k) > level }) - 1
	if c < 0 {
		return 0, 0, false
	}
	return t.averages[c], t.averages[n-1-c], true
}
