package metrics

// Standing is what a scenario of a run of all of them came to.
type Standing string

// The standings.
const (
	Reproduced    Standing = "reproduced"
	NotReproduced Standing = "not_reproduced"
	Undecided     Standing = "undecided"  // the run failed, was interrupted, or cannot be believed
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
		Counts:    map[Standing]int{Reproduced: 0, NotReproduced: 0, Undecided: 0, CannotRun: 0, NotBegun: 0},
	}
}

// Add counts a scenario.
func (s *Shown) Add(one ShownScenario) {
	s.Scenarios = append(s.Scenarios, one)
	s.Counts[one.Standing]++
}

// StandingOf is what a result decides.
func StandingOf(r *Result) (Standing, string) {
	switch {
	case r.Flagged("interrupted"), r.Verdict == nil:
		return Undecided, "it was interrupted"
	case r.Flagged("invalid"), r.Flagged("server-lost"):
		for _, f := range r.Flags {
			if f.Name == "invalid" || f.Name == "server-lost" {
				return Undecided, f.Name + ": " + f.Why
			}
		}
	case !r.Verdict.Reproduced:
		return NotReproduced, ""
	}
	return Reproduced, ""
}
