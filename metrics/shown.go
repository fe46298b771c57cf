package metrics

import "slices"

// Standing is what a run of a scenario came to.
type Standing string

// The standings.
const (
	Reproduced    Standing = "reproduced"
	NotReproduced Standing = "not_reproduced"
	Undecided     Standing = "undecided"  // the run failed, or evidence is missing
	Measured      Standing = "measured"   // a benchmark makes no claim
	CannotRun     Standing = "cannot_run" // this machine lacks something
	NotBegun      Standing = "not_begun"  // a signal came first
)

// Shown is what a run of all scenarios came to.
type Shown struct {
	Scenarios []ShownScenario  `json:"scenarios"`
	Counts    map[Standing]int `json:"counts"` // has every standing
}

// ShownScenario is one of them.
type ShownScenario struct {
	Name     string   `json:"name"`
	Standing Standing `json:"standing"`
	TookS    float64  `json:"took_s,omitempty"`
	// Why says why it did not run or is undecided, Lift what changes that.
	Why    string  `json:"why,omitempty"`
	Lift   string  `json:"lift,omitempty"`
	Result *Result `json:"result,omitempty"`
}

// NewShown returns one without scenarios.
func NewShown() *Shown {
	return &Shown{
		Scenarios: []ShownScenario{},
		Counts:    map[Standing]int{Reproduced: 0, NotReproduced: 0, Undecided: 0, Measured: 0, CannotRun: 0, NotBegun: 0},
	}
}

// Add counts a scenario.
func (s *Shown) Add(one ShownScenario) {
	s.Scenarios = append(s.Scenarios, one)
	s.Counts[one.Standing]++
}

// StandingOf returns what a result decides, or why it decides nothing. A result without a verdict is
// a measurement, unless it is worthless.
func StandingOf(r *Result) (Standing, string) {
	if r.Verdict != nil {
		return r.Verdict.Outcome, r.Verdict.Why
	}
	if i := slices.IndexFunc(r.Flags, Flag.Worthless); i >= 0 {
		return Undecided, r.Flags[i].Name + ": " + r.Flags[i].Why
	}
	return Measured, ""
}
