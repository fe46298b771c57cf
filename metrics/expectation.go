package metrics

import "slices"

// Expectation is an expression over a result, and whether it held.
type Expectation struct {
	Expression string `json:"expression"`
	Pass       bool   `json:"pass"`
	// Values are the quantities that it names, as they were measured.
	Values []Value `json:"values"`
	// Reason says that a quantity has no sample, if that is why it fails.
	Reason string `json:"reason,omitempty"`
}

// Value is a quantity as it was measured.
type Value struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	// Unit is ns, 1/s, share, text, or empty for a count.
	Unit string `json:"unit,omitempty"`
	Text string `json:"text,omitempty"` // the value if the unit is text
}

// Expects tells whether the result, or one of its phases, has expectations.
func (r *Result) Expects() bool {
	return len(r.Expectations) > 0 || slices.ContainsFunc(r.Phases, func(p Phase) bool { return p.Expects() })
}

// Met tells whether every expectation held, those of the phases included.
func (r *Result) Met() bool {
	return !slices.ContainsFunc(r.Expectations, func(e Expectation) bool { return !e.Pass }) &&
		!slices.ContainsFunc(r.Phases, func(p Phase) bool { return !p.Met() })
}
