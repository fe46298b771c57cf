package compare

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/perf/benchmath"

	"tcpbench/metrics"
)

// recorded are runs of the same thing on a real machine: 60 rounds of two sides, in order of time.
// testdata/record made them.
func recorded(t *testing.T) (a, b []*metrics.Result) {
	t.Helper()
	text, err := os.ReadFile("testdata/recorded.json")
	if err != nil {
		t.Fatal(err)
	}
	var runs []*metrics.Result
	if err := json.Unmarshal(text, &runs); err != nil {
		t.Fatal(err)
	}
	if len(runs) != 120 {
		t.Fatalf("%d runs", len(runs))
	}
	for _, r := range runs {
		r.Attempted = uint64(r.Histograms[metrics.Connect].Count)
	}
	return runs[:60], runs[60:]
}

// stamped are copies with times at which they began.
func stamped(runs []*metrics.Result, at func(i int) int) []*metrics.Result {
	var all []*metrics.Result
	for i, r := range runs {
		c := *r
		c.Started = time.Unix(1e9+int64(at(i)), 0)
		all = append(all, &c)
	}
	return all
}

func differing(t *Table) (n int) {
	for _, r := range t.Rows {
		if r.Deltas[0].Different {
			n++
		}
	}
	return n
}

// Of ten runs and the next ten of the same thing the table shows no difference, and says why and what to
// do. If it took them for rounds, it would be wrong about half of the time.
func TestOneAfterTheOther(t *testing.T) {
	a, b := recorded(t)
	windows, wrong, taken := 0, 0, 0
	for _, runs := range [][]*metrics.Result{a, b} {
		for i := 0; i+20 <= len(runs); i++ {
			windows++
			first, next := runs[i:i+10], runs[i+10:i+20]
			table := Make([]Side{
				{"A", stamped(first, func(k int) int { return k })}, {"A", stamped(next, func(k int) int { return 10 + k })},
			})
			wrong += differing(table)
			if rate := table.Rows[0].Deltas[0]; rate.P != nil || rate.Low != nil || rate.Noise != nil || rate.Ratio == nil {
				t.Fatalf("%+v", rate)
			}
			if !strings.Contains(table.Untested, "did not run in turns") || table.Command == "" {
				t.Fatalf("%q, %q", table.Untested, table.Command)
			}
			pretended := Make([]Side{
				{"A", stamped(first, func(k int) int { return 2 * k })}, {"A", stamped(next, func(k int) int { return 2*k + 1 })},
			})
			if differing(pretended) > 0 {
				taken++
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d differences", wrong)
	}
	t.Logf("of %d windows %d would show a difference if they were taken for rounds", windows, taken)
	if taken*4 < windows {
		t.Errorf("only %d of %d: is the rule worth its price?", taken, windows)
	}
}

// rounded is what two sides get by default.
const rounded = 12

// rounds takes n successive rounds of the recorded runs, each with its sides in random order.
func rounds(random *rand.Rand, a, b []*metrics.Result, n int) []Side {
	first := random.IntN(len(a) - n + 1)
	sides := []Side{{Name: "A"}, {Name: "B"}}
	for i := first; i < first+n; i++ {
		x, y := a[i], b[i]
		if random.IntN(2) == 0 {
			x, y = y, x
		}
		sides[0].Results = append(sides[0].Results, stamped([]*metrics.Result{x}, func(int) int { return 2 * i })...)
		sides[1].Results = append(sides[1].Results, stamped([]*metrics.Result{y}, func(int) int { return 2*i + 1 })...)
	}
	return sides
}

// At most one in twenty tables that compare a thing with itself in turns may show a difference.
func TestFalseAlarmsOfRecordedRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("long, and all on one thread")
	}
	a, b := recorded(t)
	random := rand.New(rand.NewPCG(11, 12))
	const tables = 2000
	wrong := 0
	beyond := map[string]int{}
	for range tables {
		table := Make(rounds(random, a, b, rounded))
		if len(table.Rows) < 11 || table.Untested != "" {
			t.Fatalf("%d rows of a real run: %s", len(table.Rows), table.Untested)
		}
		if differing(table) > 0 {
			wrong++
		}
		for _, r := range table.Rows {
			if d := r.Deltas[0]; math.Abs(math.Log(*d.Ratio)) > math.Log(1+*d.Noise) {
				beyond[r.Metric]++
			}
		}
	}
	t.Logf("%d of %d tables show a difference", wrong, tables)
	if limit := tables*(1-Confidence) + 3*math.Sqrt(tables*Confidence*(1-Confidence)); float64(wrong) > limit {
		t.Errorf("%d of %d tables show a false difference; %.0f may", wrong, tables, limit)
	}
	if wrong == 0 {
		t.Error("no false alarm in so many tables: does it ever show anything?")
	}
	// The noise floor is about right.
	for name, n := range beyond {
		if share := float64(n) / tables; share > 0.12 {
			t.Errorf("%s: in %.3f of the comparisons of a side with itself the ratio is beyond the noise floor", name, share)
		}
	}
}

// TestSizeAndPower prints the table of docs/compare.md: for each number, how often a test finds a false
// difference (at 5 %) and a real one (at the level of the first row of a table of thirteen), beside
// the rank-sum test, which ignores rounds.
//
//	go test ./metrics/compare -run SizeAndPower -v
func TestSizeAndPower(t *testing.T) {
	if testing.Short() {
		t.Skip("long, and all on one thread")
	}
	a, b := recorded(t)
	const tables, n = 500, rounded
	const level = (1 - Confidence) / 13
	tests := []func(a, b []float64) float64{
		func(a, b []float64) float64 { return newTest(a, b).p() },
		func(a, b []float64) float64 {
			sample := func(v []float64) *benchmath.Sample {
				return benchmath.NewSample(slices.Clone(v), &benchmath.DefaultThresholds)
			}
			return benchmath.AssumeNothing.Compare(sample(a), sample(b)).P
		},
	}
	lines := fmt.Sprintf("\n%d rounds           |        | signed-rank              | rank-sum\n"+
		"                    | in one | size   power at          | size   power at\n"+
		"                    | round  |          3 %%   5 %%  10 %%  |          3 %%   5 %%  10 %%\n", n)
	for _, m := range numbersOf([]Side{{"A", a}, {"B", b}}) {
		random := rand.New(rand.NewPCG(31, 32))
		var found [2][4]float64
		for range tables {
			sides := rounds(random, a, b, n)
			x, y := column(&m, sides[0].Results), column(&m, sides[1].Results)
			for i, effect := range []float64{1, 1.03, 1.05, 1.1} {
				z := slices.Clone(y)
				for k := range z {
					z[k] *= effect
				}
				limit := level
				if i == 0 {
					limit = 1 - Confidence
				}
				for kind, p := range tests {
					if p(x, z) <= limit {
						found[kind][i] += 1.0 / tables
					}
				}
			}
		}
		lines += fmt.Sprintf("%-19s | %+5.2f  |", m.Name, correlation(column(&m, a), column(&m, b)))
		for kind := range found {
			f := found[kind]
			lines += fmt.Sprintf(" %4.1f %%  %3.0f   %3.0f   %3.0f   |", 100*f[0], 100*f[1], 100*f[2], 100*f[3])
		}
		lines = strings.TrimSuffix(lines, "   |") + "\n"
		if size := found[0][0]; size > 0.05+3*math.Sqrt(0.05*0.95/tables) {
			t.Errorf("%s: a test at 5 %% is wrong in %.3f", m.Name, size)
		}
		if strings.HasPrefix(m.Name, "cpu") || m.Name == "rate" || m.Name == "lifetime.p50" {
			// Rounds share the drift, so pairing finds more.
			if found[0][1] < found[1][1] || found[0][2] < 0.8 {
				t.Errorf("%s: %v with the rounds, %v without", m.Name, found[0], found[1])
			}
		}
	}
	t.Log(lines)
}

func column(n *number, results []*metrics.Result) (all []float64) {
	for _, r := range results {
		v, _ := n.of(r)
		all = append(all, v)
	}
	return all
}

// correlation is that of the logarithms.
func correlation(a, b []float64) float64 {
	zero := make([]float64, len(a))
	test := newTest(a, b)
	va, vb := varianceOf(test.a, zero), varianceOf(test.b, zero)
	return (va + vb - varianceOf(test.a, test.b)) / 2 / math.Sqrt(va*vb)
}
