package compare

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"golang.org/x/perf/benchfmt"

	"tcpbench/metrics"
)

// run is a result as noisy as on a shared machine: always a few per cent, and sometimes a tenth.
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
			metrics.Connect:     {Count: 20_000, P50: int64(250_000 / noise()), P99: int64(2e6 / noise()), P999: int64(5e6 / noise() * noise())},
			metrics.ConnectCall: {Count: 20_000, P50: int64(14_000 / noise()), P99: int64(170_000 / noise())},
			metrics.Lifetime:    {Count: 20_000, P50: int64(1.6e6 / noise()), P99: int64(5e6 / noise())},
		},
		CPU: metrics.CPU{Client: &metrics.Usage{PerConnection: 36 / noise()}, Server: &metrics.Usage{PerConnection: 33 / noise()}},
		Kernel: []metrics.Namespace{{Timeline: metrics.Timeline{T: []float64{0}, Sockets: map[string][]int64{"client.TIME_WAIT": {int64(80_000 * noise())}}},
			Counters: map[string]map[string]int64{"TcpExt": {"ListenDrops": random.Int64N(3)}}}},
	}
	r.Attempted = 20_000
	return r
}

// The sockets of others in TIME_WAIT are in tw of the namespace, and in no row.
func TestOnlyOwnSocketsAreCompared(t *testing.T) {
	r := &metrics.Result{Kernel: []metrics.Namespace{{Timeline: metrics.Timeline{T: []float64{0}, Sockets: map[string][]int64{
		"tw": {90_000}, "client.TIME_WAIT": {30}, "server.FIN_WAIT2": {7},
	}}}}}
	r.Attempted = 100
	got := map[string]float64{}
	for _, n := range numbersOf([]Side{{"A", []*metrics.Result{r}}}) {
		got[n.Name], _ = n.of(r)
	}
	if got["TIME_WAIT.max/conn"] != 0.3 || got["FIN_WAIT2.max/conn"] != 0.07 || len(got) != 2 {
		t.Errorf("%v", got)
	}
}

// inRounds gives the results the times of runs in turns, in random order.
func inRounds(random *rand.Rand, sides ...Side) []Side {
	now := time.Unix(1e9, 0)
	for round := range sides[0].Results {
		for _, i := range random.Perm(len(sides)) {
			now = now.Add(time.Second)
			if round < len(sides[i].Results) {
				sides[i].Results[round].Started = now
			}
		}
	}
	return sides
}

func side(name string, random *rand.Rand, rounds int, rate float64) Side {
	s := Side{Name: name}
	for range rounds {
		s.Results = append(s.Results, run(random, rate))
	}
	return s
}

// A real difference is found with its size. If it is too small for so few rounds, the table says how
// many would show it.
func TestDifferences(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	table := Make(inRounds(random, side("A", random, 10, 25_000), side("B", random, 10, 30_000), side("C", random, 10, 25_300)))
	if table.Rows[0].Metric != "rate" || len(table.Rows[0].Deltas) != 2 || fmt.Sprint(table.Rounds) != "[10 10 10]" || table.Paired != 10 || table.Untested != "" {
		t.Fatalf("%+v", table)
	}
	b, c := table.Rows[0].Deltas[0], table.Rows[0].Deltas[1]
	if !b.Different || *b.Ratio < 1.1 || *b.Ratio > 1.3 || b.More != 0 || *b.Low <= 1 || *b.Low > *b.Ratio || *b.High < *b.Ratio {
		t.Errorf("20 %% more: %+v", b)
	}
	if c.Different || *c.Low > 1 || *c.High < 1 || c.Noise == nil || *c.Noise < 0.005 || *c.Noise > 0.1 {
		t.Errorf("1 %% more, within noise of 4 %%: %+v", c)
	}
	for _, cell := range table.Rows[0].Cells {
		if cell.N != 10 || cell.Min > cell.Median || cell.Max < cell.Median {
			t.Errorf("%+v", cell)
		}
	}
}

// The rounds that a table asks for show the difference four times of five, by the test and the level
// that decide it.
func TestNeededRounds(t *testing.T) {
	random := rand.New(rand.NewPCG(13, 14))
	draw := func(n int) *test {
		var a, b []float64
		for range n {
			round := 0.1 * random.NormFloat64()
			a = append(a, math.Exp(round+0.02*random.NormFloat64()))
			b = append(b, math.Exp(round+0.02+0.02*random.NormFloat64()))
		}
		return newTest(a, b)
	}
	const level = 0.05 / 12
	asked := draw(400).needed(level) // of many rounds, so that chance has no part in it
	found := 0
	const tries = 400
	for range tries {
		if draw(asked).p() <= level {
			found++
		}
	}
	if share := float64(found) / tries; share < 0.7 || share > 0.93 {
		t.Errorf("%d rounds found a difference of one deviation in %.2f", asked, share)
	}
	// At 5 % fewer would do, but a stricter level decides.
	if loose := draw(400).needed(0.05); loose >= asked {
		t.Errorf("%d rounds at 5 %%, %d in a table", loose, asked)
	}
	if n := newTest([]float64{1, 2, 3}, []float64{1, 2, 3}).needed(level); n != 0 {
		t.Errorf("%d rounds for no difference", n)
	}
}

func TestTooFewRounds(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	table := Make(inRounds(random, side("A", random, 2, 100), side("B", random, 2, 200)))
	for _, r := range table.Rows {
		if d := r.Deltas[0]; d.Different || d.Low != nil || d.Noise != nil {
			t.Errorf("two rounds show of %s: %+v", r.Metric, d)
		}
	}
	if table.Enough < 8 || table.Enough > 10 {
		t.Errorf("%d rounds are enough for %d rows", table.Enough, len(table.Rows))
	}
	// Enough rounds tell sides apart that do not overlap, fewer do not.
	for less := range 2 {
		n := table.Enough - less
		got := Make(inRounds(random, side("A", random, n, 100), side("B", random, n, 200)))
		if d := got.Rows[0].Deltas[0]; d.Different != (less == 0) || (d.Low != nil) != (less == 0) {
			t.Errorf("%d rounds: %+v", n, d)
		}
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

// A quantile needs samples beyond it.
func TestSamplesOfTails(t *testing.T) {
	random := rand.New(rand.NewPCG(15, 16))
	sides := inRounds(random, side("A", random, 10, 100), side("B", random, 10, 200))
	for i, r := range sides[1].Results {
		h := r.Histograms[metrics.Connect]
		if h.Count = 9_999; i < 3 {
			h.Count = 999
		}
		r.Histograms[metrics.Connect] = h
	}
	want := map[string]Cell{
		"connect.p50":  {N: 10},
		"connect.p99":  {N: 7, Why: "3 of 10 results have fewer than the 1000 samples that it takes"},
		"connect.p999": {N: 0, Why: "10 of 10 results have fewer than the 10000 samples that it takes"},
	}
	for _, r := range Make(sides).Rows {
		if w, ok := want[r.Metric]; ok {
			delete(want, r.Metric)
			if c := r.Cells[1]; c.N != w.N || c.Why != w.Why || r.Cells[0].N != 10 || c.N == 0 && (c.Median != 0 || r.Deltas[0].P != nil) {
				t.Errorf("%s: %+v", r.Metric, r)
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("no rows of %v", want)
	}
}

// A side with a higher rate has more of everything, so counts are per connection.
func TestCountsArePerConnection(t *testing.T) {
	random := rand.New(rand.NewPCG(17, 18))
	slow, fast := side("A", random, 12, 100), side("B", random, 12, 100)
	for i := range slow.Results {
		for k, r := range []*metrics.Result{slow.Results[i], fast.Results[i]} {
			r.Attempted = uint64(1+2*k) * uint64(1000+random.IntN(50))
			r.Kernel[0].Timeline.Sockets["client.TIME_WAIT"] = []int64{0, int64(r.Attempted) * (1000 + random.Int64N(20)) / 1000}
			r.Kernel[0].Counters["TcpExt"]["ListenDrops"] = int64(r.Attempted) * (100 + random.Int64N(5)) / 1000
		}
	}
	seen := 0
	for _, r := range Make(inRounds(random, slow, fast)).Rows {
		if r.Unit != PerConnection {
			continue
		}
		seen++
		if d := r.Deltas[0]; d.Different || math.Abs(*d.Ratio-1) > 0.05 {
			t.Errorf("%s: %+v", r.Metric, d)
		}
	}
	if seen != 2 {
		t.Errorf("%d rows of counts", seen)
	}
}

func TestFairness(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	a, b := side("A", random, 2, 1), side("B", random, 2, 1)
	for i, r := range append(a.Results[:2:2], b.Results...) {
		r.Host.Sysctls = map[string]string{"net.ipv4.tcp_tw_reuse": "2", "net.netfilter.nf_conntrack_count": fmt.Sprint(i)}
	}
	if all := Differences([]Side{a, b}); len(all) != 0 {
		t.Errorf("%+v", all)
	}
	for _, r := range b.Results {
		r.Scenario.Close = "server-rst"
		r.Host.Sysctls["net.ipv4.tcp_tw_reuse"] = "1"
		r.Scenario.Settings = map[string]string{"connections": "128", "seed": "9"}
	}
	if got, want := told(Differences([]Side{a, b})), `close: client-fin | server-rst UNFAIR
--connections:  | 128
net.ipv4.tcp_tw_reuse: 2 | 1
`; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func told(all []Difference) (text string) {
	for _, d := range all {
		text += fmt.Sprintf("%s: %s", d.What, strings.Join(d.Values, " | "))
		if d.Unfair != "" {
			text += " UNFAIR"
		}
		text += "\n"
	}
	return text
}

// The library of benchstat reads what Bench writes.
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

// Held populations are compared by the numbers that they have.
func TestHeldPopulations(t *testing.T) {
	random := rand.New(rand.NewPCG(19, 20))
	sides := []Side{side("A", random, 2, 0), side("B", random, 2, 0)}
	for _, s := range sides {
		for _, r := range s.Results {
			r.Population = &metrics.Population{RampS: 1, OpenedPerS: 5000, HeartbeatsPerS: 1000}
			r.CPU.Client = &metrics.Usage{PerOpened: 50, PerHeartbeat: 10}
			r.CPU.Server = nil
		}
	}
	var rows []string
	for _, r := range Make(sides).Rows {
		if r.Unit == "1/s" || strings.HasPrefix(r.Metric, "cpu.") {
			rows = append(rows, fmt.Sprint(r.Metric, " ", r.Cells[0].Median))
		}
	}
	if got := strings.Join(rows, ", "); got != "rate_opened 5000, rate_heartbeats 1000, cpu.client_per_opened 50000, cpu.client_per_heartbeat 10000" {
		t.Error(got)
	}
	var b bytes.Buffer
	if err := Bench(&b, sides); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"5000 rate_opened/s", "1000 rate_heartbeats/s", "50000 cpu.client_per_opened-ns", "10000 cpu.client_per_heartbeat-ns"} {
		if !strings.Contains(b.String(), " "+want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}
