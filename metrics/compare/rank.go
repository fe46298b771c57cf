package compare

import (
	"math"
	"slices"
	"sort"

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
		return signedRank(n, k)
	}
	variance := float64(n) * float64(n+1) * float64(2*n+1) / 24
	return stats.NormalDist{Mu: float64(len(t.averages)) / 2, Sigma: math.Sqrt(variance)}.CDF(float64(k) + 0.5)
}

// signedRank is the probability that the ranks of n differences with random signs have a positive sum
// of at most k.
func signedRank(n, k int) float64 {
	p := make([]float64, n*(n+1)/2+1)
	p[0] = 1
	for rank := 1; rank <= n; rank++ {
		for sum := len(p) - 1; sum >= 0; sum-- {
			p[sum] /= 2
			if sum >= rank {
				p[sum] += p[sum-rank] / 2
			}
		}
	}
	total := 0.0
	for _, x := range p[:min(k+1, len(p))] {
		total += x
	}
	return total
}

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
