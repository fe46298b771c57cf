package metrics

// Loopback tells that a scenario made for a lab was shown on the host's loopback instead.
type Loopback struct {
	// Why is why there was no lab: what this machine refuses, or the user's choice.
	Why string `json:"why"`
	// Evidence is what decided in place of a lab's segments and counters.
	Evidence string `json:"evidence"`
	// Client and Server are options that were set on all sockets of a side.
	Client map[string]string `json:"client,omitempty"`
	Server map[string]string `json:"server,omitempty"`
}
