package metrics

import "time"

// Moment is what tcpbench watch shows of one network namespace at one time.
type Moment struct {
	Time      time.Time      `json:"time"`
	States    map[string]int `json:"states"` // TCP sockets in each state
	Listeners []Listening    `json:"listeners"`
	// Destinations are the four-tuple spaces with the most local ports taken, fullest first.
	Destinations []Destination `json:"destinations"`
	Spaces       int           `json:"spaces"` // in all
	Ports        int           `json:"ports"`  // of each
	// SpacesLeft are sockets outside of these, because there are too many spaces to tell apart.
	SpacesLeft int `json:"spaces_left_out,omitempty"`
	// Rates is by how much each counter grew per second since the moment before, by group and name.
	// Those that did not move are left out.
	Rates    map[string]map[string]float64 `json:"rates"`
	CensusNS int64                         `json:"census_ns"` // processor time to count the sockets
}

// Listening are the listening sockets of one address.
type Listening struct {
	Addr    string `json:"addr"`
	Sockets int    `json:"sockets"`
	Waiting int    `json:"waiting"` // connections that wait for accept()
	Fullest int    `json:"fullest"` // most of them in one socket
	Limit   int    `json:"limit"`   // of that socket, which holds one more
}

// Destination is a four-tuple space: a source address and a destination.
type Destination struct {
	Source   string `json:"source"`
	Target   string `json:"target"`
	TimeWait int    `json:"time_wait"` // ports in TIME_WAIT
	Other    int    `json:"other"`     // ports in use
	Left     int    `json:"left"`      // ports of the range that are free
}
