package metrics

// Expectation is an expression over a result, and whether it held.
type Expectation struct {
	Expression string `json:"expression"`
	Pass       bool   `json:"pass"`
	// Values are the variables that it names, as they were measured.
	Values []Value `json:"values"`
	// Reason says why it fails where no value tells: there was no sample to judge.
	Reason string `json:"reason,omitempty"`
}

// Value is a variable of an expectation.
type Value struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	// Unit is ns, 1/s, share, text, or empty for a count.
	Unit string `json:"unit,omitempty"`
	// Text is the value where the unit is text.
	Text string `json:"text,omitempty"`
}

// Expects tells whether anything was expected, of the whole or of a phase.
func (r *Result) Expects() bool {
	if len(r.Expectations) > 0 {
		return true
	}
	for i := range r.Phases {
		if r.Phases[i].Expects() {
			return true
		}
	}
	return false
}

// Met tells whether every expectation held, those of the phases included.
func (r *Result) Met() bool {
	for _, e := range r.Expectations {
		if !e.Pass {
			return false
		}
	}
	for i := range r.Phases {
		if !r.Phases[i].Met() {
			return false
		}
	}
	return true
}
