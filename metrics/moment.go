package metrics

import "time"

// Moment is what the kernel of one network namespace showed at one time: a line of
// tcpbench watch.
type Moment struct {
	Time time.Time `json:"time"`
	// States is the number of TCP sockets in each state, by the kernel's names.
	States    map[string]int `json:"states"`
	Listeners []Listening    `json:"listeners"`
	// Destinations are the four-tuple spaces with the most local ports taken, fullest first.
	Destinations []Destination `json:"destinations"`
	// Spaces is how many there were in all, and Ports the number of ports that each has.
	Spaces int `json:"spaces"`
	Ports  int `json:"ports"`
	// SpacesLeft is how many sockets are in none of these, because there are too many to tell apart.
	SpacesLeft int `json:"spaces_left_out,omitempty"`
	// Rates is by how much each counter grew per second since the moment before, by group
	// and name as the kernel names them; those that stood still are left out.
	Rates map[string]map[string]float64 `json:"rates"`
	// CensusNS is the processor time that it took to count the sockets.
	CensusNS int64 `json:"census_ns"`
}

// Listening is a listening socket, or several on one address.
type Listening struct {
	Addr    string `json:"addr"`
	Sockets int    `json:"sockets"`
	// Waiting is how many connections wait for accept(), in all of them.
	Waiting int `json:"waiting"`
	// Fullest is how many of them wait in one socket, and Limit what that holds but for one.
	Fullest int `json:"fullest"`
	Limit   int `json:"limit"`
}

// Destination is a four-tuple space: a source address and a destination.
type Destination struct {
	Source   string `json:"source"`
	Target   string `json:"target"`
	TimeWait int    `json:"time_wait"` // ports in TIME_WAIT
	Other    int    `json:"other"`     // ports in use
	Left     int    `json:"left"`      // ports of the range that are not taken
}
