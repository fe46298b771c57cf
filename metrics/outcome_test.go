package metrics

import (
	"maps"
	"testing"

	"pgregory.net/rapid"
)

func anyEnds() *rapid.Generator[Ends] {
	return rapid.Custom(func(t *rapid.T) (e Ends) {
		for range rapid.IntRange(0, 10).Draw(t, "kinds") {
			s := rapid.IntRange(0, int(Stages)-1).Draw(t, "stage")
			o := rapid.IntRange(0, int(Outcomes)-1).Draw(t, "outcome")
			e[s][o] += rapid.Uint64Max(1<<40).Draw(t, "n")
		}
		return e
	})
}

func anyTally() *rapid.Generator[Tally] {
	return rapid.Custom(func(t *rapid.T) Tally {
		ends := anyEnds().Draw(t, "ends")
		tally := Tally{
			Succeeded: ends.Succeeded(),
			Failed:    ends.Failed(),
			Open:      rapid.Uint64Max(1<<40).Draw(t, "open"),
			Missed:    rapid.Uint64Max(1<<40).Draw(t, "missed"),
		}
		tally.Attempted = tally.Succeeded + tally.TotalFailed() + tally.Open
		return tally
	})
}

func TestFailureNamesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for s := range Stages {
		for o := range Outcomes {
			name := FailureName(s, o)
			if s.String() == "" || o.String() == "" || seen[name] {
				t.Errorf("stage %d, outcome %d: name %q is empty or taken", s, o, name)
			}
			seen[name] = true
		}
	}
}

func TestEndsSubUndoesAdd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyEnds().Draw(t, "a"), anyEnds().Draw(t, "b")
		sum := a
		sum.Add(&b)
		other := b
		other.Add(&a)
		if sum != other {
			t.Fatal("a+b is not b+a")
		}
		if sum.Succeeded() != a.Succeeded()+b.Succeeded() {
			t.Fatalf("succeeded %d of %d and %d", sum.Succeeded(), a.Succeeded(), b.Succeeded())
		}
		sum.Sub(&b)
		if sum != a {
			t.Fatal("a+b-b is not a")
		}
	})
}

// Each count of an Ends is in the result once: as a success or under a name.
func TestEndsBecomeATallyThatBalances(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ends := anyEnds().Draw(t, "ends")
		var total uint64
		for s := range ends {
			for _, n := range ends[s] {
				total += n
			}
		}
		tally := Tally{Attempted: total, Succeeded: ends.Succeeded(), Failed: ends.Failed()}
		if err := tally.Balance(); err != nil {
			t.Fatal(err)
		}
		for name, n := range tally.Failed {
			if n == 0 {
				t.Fatalf("%s did not occur", name)
			}
		}
		tally.Open++
		if tally.Balance() == nil {
			t.Fatal("one too many, and no error")
		}
	})
}

func TestTallyAddKeepsTheBalance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyTally().Draw(t, "a"), anyTally().Draw(t, "b")
		before := maps.Clone(a.Failed)
		sum, other := a, b
		sum.Add(b)
		other.Add(a)
		if err := sum.Balance(); err != nil {
			t.Fatal(err)
		}
		if !sameTally(sum, other) {
			t.Fatalf("a+b = %+v, b+a = %+v", sum, other)
		}
		if sum.TotalFailed() != a.TotalFailed()+b.TotalFailed() || sum.Missed != a.Missed+b.Missed {
			t.Fatalf("%+v + %+v = %+v", a, b, sum)
		}
		if !maps.Equal(before, a.Failed) {
			t.Fatal("adding to a copy changed the original")
		}
	})
}

func TestTallyAddToNothing(t *testing.T) {
	var sum Tally
	sum.Add(Tally{Attempted: 2, Succeeded: 1, Failed: map[string]uint64{"connect.refused": 1}})
	sum.Add(Tally{})
	if err := sum.Balance(); err != nil || sum.Failed["connect.refused"] != 1 {
		t.Errorf("%+v, %v", sum, err)
	}
}

func sameTally(a, b Tally) bool {
	return a.Attempted == b.Attempted && a.Succeeded == b.Succeeded && a.Open == b.Open &&
		a.Missed == b.Missed && maps.Equal(a.Failed, b.Failed)
}
