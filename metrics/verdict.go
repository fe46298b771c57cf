package metrics

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Verdict says whether a run has shown what its scenario claims.
type Verdict struct {
	Claim   string   `json:"claim"` // about TCP, with its source
	Steps   []string `json:"steps"` // what was done to show it
	Outcome Standing `json:"outcome"`
	// Why says what is missing for a decision.
	Why string `json:"why,omitempty"`
	// Reproduced is true if that is the outcome. Earlier documents have no outcome.
	Reproduced bool `json:"reproduced"`
	// Conditions must hold before the evidence decides.
	Conditions []Condition   `json:"conditions,omitempty"`
	Evidence   []Expectation `json:"evidence"`
	// Production is what to do about it in use, and at what cost.
	Production string `json:"production"`
}

// Condition is an expression that must hold of a run before its evidence decides.
type Condition struct {
	Else string `json:"else"` // what is wrong with the run if it does not hold: too slow to tell
	Expectation
}

// worthless are the flags of runs that show nothing, whatever their numbers are.
var worthless = []string{"invalid", "interrupted", "server-lost", "unobserved", "unfinished", "late-link"}

// Worthless tells whether a result with this flag shows nothing.
func (f Flag) Worthless() bool { return slices.Contains(worthless, f.Name) }

// Decide sets the outcome. The claim is reproduced if all evidence holds, and not reproduced if some
// evidence was measured and does not hold. It is undecided if the result is worthless, a condition
// does not hold, or evidence is missing and the rest holds.
func (v *Verdict) Decide(r *Result) {
	v.Outcome, v.Why = v.decide(r)
	v.Reproduced = v.Outcome == Reproduced
}

func (v *Verdict) decide(r *Result) (Standing, string) {
	if i := slices.IndexFunc(r.Flags, Flag.Worthless); i >= 0 {
		return Undecided, r.Flags[i].Name + ": " + r.Flags[i].Why
	}
	if r.Attempted == 0 && r.Experiment == nil {
		return Undecided, "no connection was attempted"
	}
	for _, c := range v.Conditions {
		if !c.Pass {
			return Undecided, c.why()
		}
	}
	outcome, why := Reproduced, ""
	for _, e := range v.Evidence {
		switch {
		case e.Pass:
		case e.Reason == "":
			return NotReproduced, ""
		case why == "":
			outcome, why = Undecided, fmt.Sprintf("evidence is missing for %s: %s", e.Expression, e.Reason)
		}
	}
	return outcome, why
}

// why says in a sentence what is wrong with the run.
func (c *Condition) why() string {
	if c.Reason != "" {
		return fmt.Sprintf("%s: %s cannot be judged: %s", c.Else, c.Expression, c.Reason)
	}
	var values []string
	for _, v := range c.Values {
		values = append(values, v.Name+" = "+v.String())
	}
	return fmt.Sprintf("%s: %s does not hold, with %s", c.Else, c.Expression, strings.Join(values, ", "))
}

// String is the value with its unit.
func (v Value) String() string {
	switch v.Unit {
	case Text:
		return strconv.Quote(v.Text)
	case Nanoseconds:
		return time.Duration(v.Value).Round(10 * time.Microsecond).String()
	}
	return strings.TrimSpace(strconv.FormatFloat(v.Value, 'g', -1, 64) + " " + v.Unit)
}
