package metrics

import "slices"

// Finding says what happened in a run, or what will: the observation, its evidence, the mechanism and
// the remedies.
type Finding struct {
	Name      string   `json:"name"` // ports-exhausted, accept-queue-overflow, …
	What      string   `json:"what"` // a sentence with the numbers
	Evidence  []Value  `json:"evidence"`
	Mechanism string   `json:"mechanism"` // why the kernel does that, with its function or an RFC
	Remedies  []Remedy `json:"remedies"`
}

// Remedy is a way to change what was found, and its cost.
type Remedy struct {
	Do   string `json:"do"`
	Cost string `json:"cost"`
}

// Finding returns the finding of that name, or nil.
func (r *Result) Finding(name string) *Finding { return findingOf(r.Findings, name) }

// Found tells whether the result, or one of its phases, has the finding.
func (r *Result) Found(name string) bool {
	return r.Finding(name) != nil || slices.ContainsFunc(r.Phases, func(p Phase) bool { return p.Found(name) })
}

// Predicted returns the forecast of that name, or nil.
func (r *Result) Predicted(name string) *Finding { return findingOf(r.Forecast, name) }

func findingOf(all []Finding, name string) *Finding {
	if i := slices.IndexFunc(all, func(f Finding) bool { return f.Name == name }); i >= 0 {
		return &all[i]
	}
	return nil
}

// Of returns the value of the evidence of that name.
func (f *Finding) Of(name string) (value float64, ok bool) {
	for _, v := range f.Evidence {
		if v.Name == name {
			return v.Value, true
		}
	}
	return 0, false
}
