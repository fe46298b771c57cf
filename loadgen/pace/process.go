// Package pace says when a connection is due, and between which addresses: rates over time,
// arrival processes, schedules, limits. It is arithmetic: it looks at no clock and opens no socket.
package pace

// Process is an arrival process: who connects when.
type Process string

const (
	// Closed keeps a number of connections in flight: one ends, the next begins.
	Closed Process = "closed"
	// Constant starts connections at equal distances, whatever became of the earlier ones.
	Constant Process = "constant"
	// Poisson starts connections at exponentially distributed distances.
	Poisson Process = "poisson"
	// Bursts starts many connections at one instant, and again.
	Bursts Process = "burst"
	// Hold opens a population once and keeps it.
	Hold Process = "hold"
)
