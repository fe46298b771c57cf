package metrics

// Finding says in words what happened in a run, or what will: from which evidence, by
// which mechanism, and what can be done about it.
type Finding struct {
	Name string `json:"name"` // ports-exhausted, accept-queue-overflow, …
	// What is a sentence with the numbers.
	What string `json:"what"`
	// Evidence are the counters and measurements that decided.
	Evidence []Value `json:"evidence"`
	// Mechanism is why the kernel does that, with the function or RFC where there is one.
	Mechanism string   `json:"mechanism"`
	Remedies  []Remedy `json:"remedies"`
}

// Remedy is a way to mend what was found, and what that costs.
type Remedy struct {
	Do   string `json:"do"`
	Cost string `json:"cost"`
}

// Finding returns the finding of that name, or nil.
func (r *Result) Finding(name string) *Finding { return findingOf(r.Findings, name) }

// Found tells whether the result, or one of its phases, has the finding.
func (r *Result) Found(name string) bool {
	if r.Finding(name) != nil {
		return true
	}
	for i := range r.Phases {
		if r.Phases[i].Found(name) {
			return true
		}
	}
	return false
}

// Predicted returns the forecast of that name, or nil.
func (r *Result) Predicted(name string) *Finding { return findingOf(r.Forecast, name) }

func findingOf(all []Finding, name string) *Finding {
	for i := range all {
		if all[i].Name == name {
			return &all[i]
		}
	}
	return nil
}

// Of returns the value of a piece of evidence.
func (f *Finding) Of(name string) (value float64, ok bool) {
	for _, v := range f.Evidence {
		if v.Name == name {
			return v.Value, true
		}
	}
	return 0, false
}
