package metrics

// Verdict says whether a run has shown what its scenario claims.
type Verdict struct {
	// Claim is what is said of TCP, and where it comes from.
	Claim string `json:"claim"`
	// Steps are what was done to show it.
	Steps []string `json:"steps"`
	// Reproduced tells that all of the evidence holds.
	Reproduced bool `json:"reproduced"`
	// Evidence are the expressions that decide, with what was measured.
	Evidence []Expectation `json:"evidence"`
	// Production is what to do about it where it matters, and what that costs.
	Production string `json:"production"`
}
