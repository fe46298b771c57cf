package compare

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tcpbench/metrics"
)

// taken makes sides of runs in the given order.
func taken(order string) []Side {
	sides := []Side{{Name: "A"}, {Name: "B"}}
	for i, c := range order {
		k := int(c - 'A')
		sides[k].Results = append(sides[k].Results, &metrics.Result{Started: time.Unix(1e9+int64(i), 0)})
	}
	return sides
}

func TestInTurns(t *testing.T) {
	for _, tt := range []struct {
		order  string
		rounds int
		why    string
	}{
		{"ABABBABA", 4, ""},
		{"ABBAABBA", 4, ""},
		{"ABABABBAAB", 5, ""},
		{"ABABBBABAB", 4, ""}, // one run is missing
		{"AAAAABBBBB", 0, "did not run in turns"},
		{"AAABBBAAABBB", 0, "did not run in turns"},
		{"AB", 0, "A has a single result"},
		{"AABAB", 2, ""},
	} {
		rounds, why := inTurns(taken(tt.order))
		if len(rounds) != tt.rounds || !strings.Contains(why, tt.why) || (why == "") != (tt.why == "") {
			t.Errorf("%s: %d rounds, %q", tt.order, len(rounds), why)
		}
		for _, r := range rounds {
			if d := r[0].Started.Sub(r[1].Started).Abs(); d > time.Second {
				t.Errorf("%s: %v between runs of a round", tt.order, d)
			}
		}
	}
	untimed := taken("ABAB")
	untimed[1].Results[1].Started = time.Time{}
	if _, why := inTurns(untimed); !strings.Contains(why, "do not tell when") {
		t.Errorf("%q", why)
	}
}

// A comparison of more sides has more tests, and needs more rounds.
func TestRounds(t *testing.T) {
	for sides, want := range map[int][2]int{2: {rounded, 10}, 3: {13, 11}, 24: {16, 14}} {
		if usual, fewest := Rounds(sides); usual != want[0] || fewest != want[1] {
			t.Errorf("%d sides: %d rounds, at least %d; want %v", sides, usual, fewest, want)
		}
	}
}

// The command that would decide repeats both measurements in turns.
func TestAgain(t *testing.T) {
	ran := func(a, b string) []Side {
		return []Side{
			{Name: "A", Results: []*metrics.Result{{Command: strings.Fields(a)}}},
			{Name: "B", Results: []*metrics.Result{{Command: strings.Fields(b)}}},
		}
	}
	for _, tt := range []struct {
		sides []Side
		want  string
	}{
		{ran("", ""), "tcpbench compare SCENARIO --profile A --profile B --rounds 12"},
		{ran("/bin/tcpbench compare short --rounds 2 --profile a* --save=x", "/bin/tcpbench compare short --rounds 2 --profile a* --save=x"), "tcpbench compare short --profile 'a*' --rounds 12"},
		{ran("tcpbench run short --out x.json", "tcpbench run short --close server"),
			"for i in $(seq 6); do tcpbench run short --out a.$i.1.json; tcpbench run short --close server --out b.$i.1.json; " +
				"tcpbench run short --close server --out b.$i.2.json; tcpbench run short --out a.$i.2.json; done; tcpbench diff a.*.json -- b.*.json"},
	} {
		if got := again(tt.sides, 12); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

// The distribution of signed ranks, against a table (Hollander and Wolfe, A.4) and arithmetic.
func TestSignedRank(t *testing.T) {
	for _, tt := range []struct {
		n, k int
		want float64
	}{{1, 0, 0.5}, {5, 0, 1. / 32}, {10, 8, 0.0244}, {10, 10, 0.0420}, {12, 13, 0.0212}, {15, 25, 0.0240}, {50, 1275, 1}} {
		if got := signedRanks()[tt.n][tt.k]; got < tt.want-0.00006 || got > tt.want+0.00006 {
			t.Errorf("%d rounds, %d: %.4f, want %.4f", tt.n, tt.k, got, tt.want)
		}
	}
	// The normal distribution continues where the exact ones end.
	if got, want := normalRank(mostExact, 470), signedRanks()[mostExact][470]; got < want*0.97 || got > want*1.03 {
		t.Errorf("%v, exact %v", got, want)
	}
}

// Interval and decision never contradict each other.
func TestIntervalAgreesWithTheTest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 20).Draw(t, "rounds")
		values := rapid.SliceOfN(rapid.Map(rapid.IntRange(1, 30), func(i int) float64 { return float64(i) }), n, n) // with ties
		test := newTest(values.Draw(t, "a"), values.Draw(t, "b"))
		level := rapid.Float64Range(0.0001, 0.5).Draw(t, "level")
		low, high, ok := test.interval(level)
		if differs := test.p() <= level; differs != (ok && (low > 0 || high < 0)) {
			t.Fatalf("p %v at level %v, interval %v to %v (%v)", test.p(), level, low, high, ok)
		}
	})
}
