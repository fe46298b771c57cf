package metrics

import "slices"

// Standing is what a scenario of a run of all of them came to.
type Standing string

// The standings.
const (
	Reproduced    Standing = "reproduced"
	NotReproduced Standing = "not_reproduced"
	Undecided     Standing = "undecided"  // the run failed, or lacks evidence
	Measured      Standing = "measured"   // a benchmark, which claims nothing
	CannotRun     Standing = "cannot_run" // this machine lacks something
	NotBegun      Standing = "not_begun"  // a signal came first
)

// Shown is what a run of all scenarios came to.
type Shown struct {
	Scenarios []ShownScenario `json:"scenarios"`
	// Counts has the number of scenarios of each standing, also of those that none has.
	Counts map[Standing]int `json:"counts"`
}

// ShownScenario is one of them.
type ShownScenario struct {
	Name     string   `json:"name"`
	Standing Standing `json:"standing"`
	TookS    float64  `json:"took_s,omitempty"`
	// Why says why it was not run, or is undecided; Lift is what changes that.
	Why  string `json:"why,omitempty"`
	Lift string `json:"lift,omitempty"`
	// Result is nil if there is none.
	Result *Result `json:"result,omitempty"`
}

// NewShown has no scenario yet.
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

// StandingOf is what a result decides, and why it decides nothing. A result without a verdict is
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
