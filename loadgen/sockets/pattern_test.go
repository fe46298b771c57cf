package sockets

import (
	"regexp"
	"regexp/syntax"
	"testing"

	"pgregory.net/rapid"

	"tcpbench/loadgen"
	"tcpbench/metrics"
)

func compiled(t rapid.TB, text string) *pattern {
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		t.Fatal(err)
	}
	p, err := newPattern(tree.Simplify())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A text in pieces matches after the same piece as with package regexp, also with assertions at its
// ends, and with runes that are cut in two or invalid.
func TestPatternAgreesWithRegexp(t *testing.T) {
	atoms := rapid.SampledFrom([]string{"a", "b", "(?i)B", ".", "(?s).", "[^a]", `\n`, "é", "^", "$", `\A`, `\z`, "(?m)^", "(?m)$", `\b`, `\B`, `\xff`})
	var expression func(t *rapid.T, depth int) string
	expression = func(t *rapid.T, depth int) string {
		inner := func() string { return expression(t, depth-1) }
		switch form := rapid.IntRange(0, 4).Draw(t, "form"); {
		case depth == 0 || form == 4:
			return atoms.Draw(t, "atom")
		case form == 0:
			return "(?:" + inner() + "|" + inner() + ")"
		case form == 1:
			return "(" + inner() + ")" + rapid.SampledFrom([]string{"*", "+", "?", "{2}", "{1,3}", "*?"}).Draw(t, "times")
		}
		return inner() + inner()
	}
	pieces := rapid.SliceOf(rapid.SampledFrom([]string{"a", "b", "B", "ab", "\n", "é", "\xc3", "\xa9", "\xff", "a\nb", "bb\n", "\xe2\x82", "\xac"}))
	rapid.Check(t, func(t *rapid.T) {
		text := expression(t, 3)
		whole, p := regexp.MustCompile(text), compiled(t, text)
		var m matchState
		m.begin()
		var seen []byte
		for _, piece := range pieces.Draw(t, "pieces") {
			seen = append(seen, piece...)
			got := p.feed(&m, []byte(piece))
			if want := whole.Match(seen); got != want {
				t.Fatalf("%q in %q: %v, want %v", text, seen, got, want)
			} else if got {
				break
			}
		}
	})
}

// The work for an answer that comes byte by byte is linear.
func TestWorkOfAPatternIsLinear(t *testing.T) {
	life := loadgen.Lifecycle{Request: pinged, Response: matching(`O.K\r\n$`)}
	e := newEnding(life.Response)
	r := newReplies(&life, &script{until: e}, 1)
	outcome := metrics.Succeeded
	n := 0
	for ; outcome == metrics.Succeeded; n++ {
		var whole bool
		if whole, outcome = r.reached(0, &e, []byte{'x'}, 0, false); whole {
			t.Fatal("a match of nothing")
		}
	}
	if n != loadgen.MaxMatch+1 || outcome != metrics.Unexpected {
		t.Errorf("%v after %d bytes", outcome, n)
	}
	// Each byte is a step, and so is each test whether the answer ends there.
	if steps := e.pieces.steps; steps != uint64(2*n) {
		t.Errorf("%d steps for %d bytes", steps, n)
	}
}
