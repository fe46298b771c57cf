package metrics

import "slices"

// Namespace is what the kernel of one network namespace showed during a run, warm-up and drain
// included. Who was there makes it, on this machine or on another.
type Namespace struct {
	// Of says whose namespace it is: client, server, or both where they share one.
	Of string `json:"of"`
	// Counters is by how much each counter of /proc/net/snmp and /proc/net/netstat moved,
	// by group and name, as the kernel names them. Those that stood still are left out.
	Counters map[string]map[string]int64 `json:"counters"`
	// Listeners are the listening sockets of the run's ports.
	Listeners []Queue `json:"listeners,omitempty"`
	// Spaces tells how full the ranges of local ports were.
	Spaces   *Spaces      `json:"spaces,omitempty"`
	Softnet  Softnet      `json:"softnet"`
	Timeline Timeline     `json:"timeline"`
	Cost     ObserverCost `json:"observer"`
	// Trace is what tracepoints told, where they were asked (--bpf).
	Trace *Trace `json:"trace,omitempty"`
}

// Trace is what the kernel's tracepoints told of a run's connections. Keys begin with the
// side, client or server.
type Trace struct {
	// Transitions are changes of state: "client SYN_SENT ESTABLISHED".
	Transitions map[string]uint64 `json:"transitions"`
	// Retransmits are segments sent again, by the state of the socket: "client SYN_SENT".
	Retransmits map[string]uint64 `json:"retransmits_by_state"`
	// ResetsSent are RSTs by the kernel's reason: "server NO_SOCKET".
	ResetsSent map[string]uint64 `json:"resets_sent"`
	// ResetsReceived are RSTs that a socket took.
	ResetsReceived map[string]uint64 `json:"resets_received"`
	// Refused says which tracepoints the kernel did not give, and why.
	Refused []string `json:"refused,omitempty"`
}

// Queue is the accept queue of one address, over all sockets that listen there.
type Queue struct {
	Addr string `json:"addr"`
	// Peak is the largest number of connections that a sample saw waiting in one socket.
	Peak int `json:"peak"`
	// Limit is that of one socket. One connection more than it fits in.
	Limit int `json:"limit"`
	// Drops is how many SYNs and last ACKs of handshakes its sockets dropped, for whatever reason;
	// TcpExt ListenDrops is those of all listening sockets of the namespace.
	Drops int64 `json:"drops"`
}

// Spaces is how full the four-tuple spaces of a run were: pairs of a source address and a
// destination, of which each has the whole range of local ports.
type Spaces struct {
	// Count is the number of spaces that were seen in use.
	Count int `json:"count"`
	// Ports is the size of the range.
	Ports int `json:"ports"`
	// Fullest is the one with the most ports taken, Peak how many those were.
	Fullest string `json:"fullest"`
	Peak    int    `json:"peak"`
	// Left is how many of the client's sockets were in none of these at one census, at the most,
	// because there are too many spaces to tell apart.
	Left int `json:"left_out,omitempty"`
}

// Softnet is by how much /proc/net/softnet_stat moved, all processors together. It is of
// the machine, not of a namespace.
type Softnet struct {
	Processed int64 `json:"processed"` // packets
	Dropped   int64 `json:"dropped"`   // because netdev_max_backlog was full
	Squeezed  int64 `json:"squeezed"`  // times that work was left when netdev_budget was used up
}

// Timeline is a table of samples. Every column is as long as T.
type Timeline struct {
	T []float64 `json:"t_s"` // since the start of the measured time
	// Every is how many samples make a row: one, or more if the run was long.
	Every int `json:"samples_per_row"`
	// Sockets are numbers at that time: client.ESTABLISHED, server.SYN_RECV, tw, …
	Sockets map[string][]int64 `json:"sockets"`
	// Counters are growths since the sample before: TcpExt.ListenOverflows, …
	Counters map[string][]int64 `json:"counters"`
}

// Fullest is how the ports of the fullest four-tuple space were used when it was nearest to a
// time in seconds since the start of the measured time, or a moment later: a census comes
// behind what it sees.
func (v *Namespace) Fullest(at float64) (timeWait, other int64, ok bool) {
	tw, rest := v.Timeline.Sockets["fullest.TIME_WAIT"], v.Timeline.Sockets["fullest.other"]
	for i, t := range v.Timeline.T[:min(len(v.Timeline.T), len(tw), len(rest))] {
		timeWait, other, ok = tw[i], rest[i], true
		if t >= at && v.Spaces != nil && tw[i]+rest[i] >= int64(v.Spaces.Peak) {
			break
		}
	}
	return timeWait, other, ok
}

// Peak is the largest number of the run's own sockets of a side in a state, by the census. It is
// not ok if there was none.
func (v *Namespace) Peak(side, state string) (n int64, ok bool) {
	column := v.Timeline.Sockets[side+"."+state] // absent if there never was one
	if len(column) > 0 {
		n = slices.Max(column)
	}
	return n, v.Cost.Censuses > 0 || len(column) > 0
}

// ObserverCost is what the observation itself took.
type ObserverCost struct {
	Samples  int   `json:"samples"`
	Censuses int   `json:"censuses"`
	CensusNS int64 `json:"census_ns"` // processor time of one, on average
	// CPUShare is the share of one processor, 0 to 1.
	CPUShare float64 `json:"cpu_share"`
}

// namespaces are what was seen of the kernel, in every phase.
func (r *Result) namespaces() (all []*Namespace) {
	for i := range r.Kernel {
		all = append(all, &r.Kernel[i])
	}
	for i := range r.Phases {
		all = append(all, r.Phases[i].namespaces()...)
	}
	return all
}

// Counter returns by how much a counter moved, over all namespaces and phases, by the kernel's
// names: Counter("TcpExt", "ListenOverflows").
func (r *Result) Counter(group, name string) (n int64) {
	for _, v := range r.namespaces() {
		n += v.Counters[group][name]
	}
	return n
}
