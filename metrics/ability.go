package metrics

// Ability is something that was tried on a machine: whether it can do it.
type Ability struct {
	Name   string `json:"name"`
	Can    bool   `json:"can"`
	Amount string `json:"amount,omitempty"` // how much, if that is the question
	// For are the commands and flags that need it, Scenarios those of the catalogue.
	For       string   `json:"for"`
	Scenarios []string `json:"scenarios,omitempty"`
	// Why says why the machine cannot, Lift what changes that.
	Why  string `json:"why,omitempty"`
	Lift string `json:"lift,omitempty"`
}
