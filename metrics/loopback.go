package metrics

// Loopback tells that a scenario for a lab was shown on the host's loopback instead.
type Loopback struct {
	Why      string `json:"why"`      // there was no lab: what this machine refuses, or the user's choice
	Evidence string `json:"evidence"` // what decided instead of a lab's segments and counters
	// Client and Server are socket options of all sockets of a side.
	Client map[string]string `json:"client,omitempty"`
	Server map[string]string `json:"server,omitempty"`
}
