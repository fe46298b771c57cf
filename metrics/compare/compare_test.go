package compare

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"golang.org/x/perf/benchfmt"

	"tcpbench/metrics"
)

// run is a result with a rate and latencies as noisy as a shared machine's: a jump of a
// tenth now and then, and a few per cent always.
func run(random *rand.Rand, rate float64) *metrics.Result {
	noise := func() float64 {
		f := 1 + 0.02*random.NormFloat64()
		if random.IntN(6) == 0 {
			f *= 0.9
		}
		return f
	}
	r := &metrics.Result{
		Scenario: metrics.Scenario{Name: "short", Close: "client-fin", Arrival: "closed"}, Rate: rate * noise(),
		Histograms: map[string]metrics.Histogram{
			metrics.Connect:     {Count: 1, P50: int64(250_000 / noise()), P99: int64(2e6 / noise()), P999: int64(5e6 / noise() * noise())},
			metrics.ConnectCall: {Count: 1, P50: int64(14_000 / noise()), P99: int64(170_000 / noise())},
			metrics.Lifetime:    {Count: 1, P50: int64(1.6e6 / noise()), P99: int64(5e6 / noise())},
		},
		CPU: metrics.CPU{Client: &metrics.Usage{PerConnection: 36 / noise()}, Server: &metrics.Usage{PerConnection: 33 / noise()}},
		Kernel: []metrics.View{{Timeline: metrics.Timeline{T: []float64{0}, Sockets: map[string][]int64{"tw": {int64(80_000 * noise())}}},
			Counters: map[string]map[string]int64{"TcpExt": {"ListenDrops": random.Int64N(3)}}}},
	}
	return r
}

func side(name string, random *rand.Rand, rounds int, rate float64) Side {
	s := Side{Name: name}
	for range rounds {
		s.Results = append(s.Results, run(random, rate))
	}
	return s
}

// Of tables that compare a thing with itself one in twenty may show a difference, and no
// more.
func TestFalseAlarms(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	const tables = 2000
	wrong := 0
	for range tables {
		table := Make([]Side{side("A", random, 10, 25_000), side("A", random, 10, 25_000)})
		for _, r := range table.Rows {
			if r.Deltas[0].Different {
				wrong++
				break
			}
		}
	}
	// Ranks have steps, and rows that go together make fewer chances: it may be less.
	if limit := tables*(1-Confidence) + 3*math.Sqrt(tables*Confidence*(1-Confidence)); float64(wrong) > limit {
		t.Errorf("%d of %d tables show a difference where there is none; %.0f may", wrong, tables, limit)
	}
	if wrong == 0 {
		t.Error("no false alarm in so many tables: does it ever show anything?")
	}
}

// The same with the noise of a real machine: runs of one and the same thing, of which any ten
// are compared with any other ten. testdata/record says how they were recorded.
func TestFalseAlarmsOfRecordedRuns(t *testing.T) {
	text, err := os.ReadFile("testdata/recorded.json")
	if err != nil {
		t.Fatal(err)
	}
	var runs []*metrics.Result
	if err := json.Unmarshal(text, &runs); err != nil {
		t.Fatal(err)
	}
	if len(runs) < 40 {
		t.Fatalf("%d runs are too few", len(runs))
	}
	random := rand.New(rand.NewPCG(11, 12))
	const tables = 1000
	wrong := 0
	for range tables {
		random.Shuffle(len(runs), func(i, k int) { runs[i], runs[k] = runs[k], runs[i] })
		table := Make([]Side{{"A", runs[:10]}, {"A", runs[10:20]}})
		if len(table.Rows) < 10 {
			t.Fatalf("%d rows of a real run", len(table.Rows))
		}
		for _, r := range table.Rows {
			if r.Deltas[0].Different {
				wrong++
				break
			}
		}
	}
	if limit := tables*(1-Confidence) + 3*math.Sqrt(tables*Confidence*(1-Confidence)); float64(wrong) > limit {
		t.Errorf("%d of %d tables show a difference where there is none; %.0f may", wrong, tables, limit)
	}
}

// A difference that is there is found, and one too small for so few rounds is not called
// none: it is said how many would do.
func TestDifferences(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	table := Make([]Side{side("A", random, 10, 25_000), side("B", random, 10, 30_000), side("C", random, 10, 25_300)})
	if table.Rows[0].Metric != "rate" || len(table.Rows[0].Deltas) != 2 || fmt.Sprint(table.Rounds) != "[10 10 10]" {
		t.Fatalf("%+v", table)
	}
	b, c := table.Rows[0].Deltas[0], table.Rows[0].Deltas[1]
	if !b.Different || b.Ratio == nil || *b.Ratio < 1.1 || *b.Ratio > 1.3 || b.More != 0 {
		t.Errorf("20 %% more: %+v", b)
	}
	if c.Different {
		t.Errorf("1 %% more, within noise of 4 %%: %+v", c)
	}
	for _, cell := range table.Rows[0].Cells {
		if cell.N != 10 || cell.Low == nil || *cell.Low > cell.Median || *cell.High < cell.Median {
			t.Errorf("%+v", cell)
		}
	}
	// As many rounds as it says show the difference, more often than not.
	const small = 26_500
	asked := Make([]Side{side("A", random, 5, 25_000), side("B", random, 5, small)}).Rows[0].Deltas[0]
	if n := needed([]float64{10, 11, 12, 9}, []float64{11, 12, 13, 10}); n < 10 || n > 40 {
		t.Errorf("%d rounds for a difference of one deviation less a quarter", n)
	}
	found := 0
	rounds := max(asked.More, 20)
	for range 20 {
		if compareRanks(rates(side("A", random, rounds, 25_000)), rates(side("B", random, rounds, small))) < 0.05 {
			found++
		}
	}
	if found < 12 {
		t.Errorf("%d rounds found a difference of 6 %% %d times of 20", rounds, found)
	}
}

func rates(s Side) (all []float64) {
	for _, r := range s.Results {
		all = append(all, r.Rate)
	}
	return all
}

func TestTooFewRounds(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	table := Make([]Side{side("A", random, 2, 100), side("B", random, 2, 200)})
	for _, r := range table.Rows {
		if r.Deltas[0].Different {
			t.Errorf("two rounds show that %s differs", r.Metric)
		}
		if r.Cells[0].Low != nil {
			t.Errorf("two rounds bound the median of %s", r.Metric)
		}
	}
	if table.Enough < 5 || table.Enough > 9 {
		t.Errorf("%d rounds are enough for %d rows", table.Enough, len(table.Rows))
	}
	// With as many as are enough, sides that do not overlap are told apart.
	table = Make([]Side{side("A", random, table.Enough, 100), side("B", random, table.Enough, 200)})
	if !table.Rows[0].Deltas[0].Different {
		t.Errorf("%+v", table.Rows[0])
	}
	// Nothing to compare is no difference.
	for _, sides := range [][]Side{{{Name: "A"}, {Name: "B"}}, {side("A", random, 3, 1), {Name: "B"}}} {
		for _, r := range Make(sides).Rows {
			if r.Deltas[0].Different {
				t.Errorf("%+v", r)
			}
		}
	}
}

func TestFairness(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	a, b := side("A", random, 2, 1), side("B", random, 2, 1)
	if all := Differences([]Side{a, b}); len(all) != 0 {
		t.Errorf("%+v", all)
	}
	for _, r := range b.Results {
		r.Scenario.Close = "server-rst"
		r.Host.Sysctls = map[string]string{"net.ipv4.tcp_tw_reuse": "1", "net.netfilter.nf_conntrack_count": "7"}
		r.Scenario.Settings = map[string]string{"connections": "128", "seed": "9"}
		r.Lab = &metrics.Lab{Server: metrics.LabHost{Settings: []metrics.LabSetting{{Key: "net.core.somaxconn", Value: "77", Now: "77", Outcome: "applied"}, {Key: "vm.swappiness", Value: "1", Now: "60", Outcome: "global"}}}}
	}
	got := ""
	for _, d := range Differences([]Side{a, b}) {
		got += fmt.Sprintf("%s: %s", d.What, strings.Join(d.Values, " | "))
		if d.Unfair != "" {
			got += " UNFAIR"
		}
		got += "\n"
	}
	if want := `close: client-fin | server-rst UNFAIR
place: host | lab UNFAIR
--connections:  | 128
net.ipv4.tcp_tw_reuse:  | 1
server net.core.somaxconn:  | 77
`; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// What Bench writes, the library behind benchstat reads.
func TestBench(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 10))
	var b bytes.Buffer
	sides := []Side{side("a b/c", random, 3, 25_000), side("B", random, 3, 30_000)}
	if err := Bench(&b, sides); err != nil {
		t.Fatal(err)
	}
	reader := benchfmt.NewReader(&b, "test")
	results, seen := 0, map[string]int{}
	for reader.Scan() {
		switch rec := reader.Result().(type) {
		case *benchfmt.Result:
			results++
			seen[rec.Name.String()]++
			if v, ok := rec.Value("conn/s"); !ok || v < 20_000*0.8 {
				t.Errorf("%s: rate %v", rec.Name, v)
			}
			if _, ok := rec.Value("connect.p99-sec"); !ok {
				t.Errorf("%s: %v", rec.Name, rec.Values)
			}
		case *benchfmt.SyntaxError:
			t.Error(rec)
		}
	}
	if results != 6 || seen["Short/side=a_b_c"] != 3 {
		t.Errorf("%d results: %v", results, seen)
	}
}
