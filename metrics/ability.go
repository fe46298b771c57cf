package metrics

// Ability is something that a machine can do or not, as it was tried there.
type Ability struct {
	Name string `json:"name"`
	// Can tells that it was done.
	Can bool `json:"can"`
	// Amount says how much, if that is the question.
	Amount string `json:"amount,omitempty"`
	// For are the commands and flags that need it, and Scenarios those of the catalogue.
	For       string   `json:"for"`
	Scenarios []string `json:"scenarios,omitempty"`
	// Why says why it cannot, and Lift what changes that.
	Why  string `json:"why,omitempty"`
	Lift string `json:"lift,omitempty"`
}
