package metrics

import (
	"strings"
	"testing"
)

func TestDecide(t *testing.T) {
	holds, fails := Expectation{Expression: "a > 0", Pass: true}, Expectation{Expression: "b > 0", Values: []Value{{Name: "b"}}}
	missing := Expectation{Expression: "c > 0", Reason: "no sample: c"}
	slow := Condition{Else: "too slow to tell", Expectation: Expectation{Expression: "attempted > 9 and seen.stall < 1s", Values: []Value{{Name: "attempted", Value: 8}, {Name: "seen.stall", Value: 25e5, Unit: "ns"}}}}
	fast := slow
	fast.Pass = true
	for name, tt := range map[string]struct {
		flag       string
		conditions []Condition
		evidence   []Expectation
		attempted  uint64
		outcome    Standing
		why        string
	}{
		"all of it holds":             {"", []Condition{fast}, []Expectation{holds, holds}, 9, Reproduced, ""},
		"a flag that takes nothing":   {"noisy-host", nil, []Expectation{holds}, 9, Reproduced, ""},
		"one fails":                   {"", nil, []Expectation{holds, fails}, 9, NotReproduced, ""},
		"one fails, one is missing":   {"", nil, []Expectation{missing, fails}, 9, NotReproduced, ""},
		"one is missing":              {"", nil, []Expectation{holds, missing}, 9, Undecided, "evidence is missing for c > 0: no sample: c"},
		"a condition does not hold":   {"", []Condition{fast, slow}, []Expectation{fails}, 9, Undecided, "too slow to tell: attempted > 9 and seen.stall < 1s does not hold, with attempted = 8, seen.stall = 2.5ms"},
		"a condition that is missing": {"", []Condition{{"no link", missing}}, []Expectation{holds}, 9, Undecided, "no link: c > 0 cannot be judged: no sample: c"},
		"nothing was attempted":       {"", nil, []Expectation{fails}, 0, Undecided, "no connection was attempted"},
		"a worthless result":          {"late-link", nil, []Expectation{holds}, 9, Undecided, "late-link: Packets were late."},
		"a worthless result, failing": {"interrupted", nil, []Expectation{fails}, 9, Undecided, "interrupted: Packets were late."},
	} {
		r := &Result{Tally: Tally{Attempted: tt.attempted}}
		if tt.flag != "" {
			r.Flags = []Flag{{"noisy-host", "It was."}, {tt.flag, "Packets were late."}}
		}
		v := &Verdict{Conditions: tt.conditions, Evidence: tt.evidence}
		v.Decide(r)
		if v.Outcome != tt.outcome || v.Why != tt.why || v.Reproduced != (tt.outcome == Reproduced) {
			t.Errorf("%s: %s %q, want %s %q", name, v.Outcome, v.Why, tt.outcome, tt.why)
		}
		r.Verdict = v
		if standing, why := StandingOf(r); standing != tt.outcome || why != tt.why {
			t.Errorf("%s: it stands as %s, %q", name, standing, why)
		}
		if r.Verdict = nil; tt.flag == "late-link" {
			if standing, why := StandingOf(r); standing != Undecided || !strings.HasPrefix(why, "late-link") {
				t.Errorf("a worthless benchmark is %s, %q", standing, why)
			}
		} else if standing, _ := StandingOf(&Result{}); standing != Measured {
			t.Errorf("a benchmark is %s", standing)
		}
	}
}
