package metrics

import "slices"

// Namespace is what the kernel of one network namespace showed during a run, warm-up and drain
// included.
type Namespace struct {
	Of string `json:"of"` // client, server, or both if they share it
	// Counters is by how much each counter of /proc/net/snmp and /proc/net/netstat moved, by group
	// and name. Those that did not move are left out.
	Counters map[string]map[string]int64 `json:"counters"`
	// Listeners are the listening sockets of the run's ports.
	Listeners []Queue      `json:"listeners,omitempty"`
	Spaces    *Spaces      `json:"spaces,omitempty"`
	Softnet   Softnet      `json:"softnet"`
	Timeline  Timeline     `json:"timeline"`
	Cost      ObserverCost `json:"observer"`
	// Trace is present with --bpf.
	Trace *Trace `json:"trace,omitempty"`
}

// Trace is what the kernel's tracepoints counted of a run's connections. Keys begin with the side,
// client or server.
type Trace struct {
	// Transitions are changes of state: "client SYN_SENT ESTABLISHED".
	Transitions map[string]uint64 `json:"transitions"`
	// Retransmits are segments sent again, by the state of the socket: "client SYN_SENT".
	Retransmits map[string]uint64 `json:"retransmits_by_state"`
	// ResetsSent are RSTs by the kernel's reason: "server NO_SOCKET".
	ResetsSent map[string]uint64 `json:"resets_sent"`
	// ResetsReceived are RSTs that a socket accepted.
	ResetsReceived map[string]uint64 `json:"resets_received"`
	// Refused names the tracepoints that could not be attached, and why.
	Refused []string `json:"refused,omitempty"`
}

// Queue is the accept queue of one address, over all sockets that listen there.
type Queue struct {
	Addr  string `json:"addr"`
	Peak  int    `json:"peak"`  // most connections that a sample saw waiting in one socket
	Limit int    `json:"limit"` // of one socket, which holds Limit + 1 connections
	// Drops are SYNs and last ACKs of handshakes that its sockets dropped, for any reason. TcpExt
	// ListenDrops counts those of all listening sockets of the namespace.
	Drops int64 `json:"drops"`
}

// Spaces tells how full the four-tuple spaces of a run were. A space is a source address and a
// destination, and has the whole range of local ports.
type Spaces struct {
	Count   int    `json:"count"`   // spaces that were seen in use
	Ports   int    `json:"ports"`   // size of the range
	Fullest string `json:"fullest"` // the space with the most ports taken
	Peak    int    `json:"peak"`    // how many those were
	// Left is the most client sockets that one census found outside of these, because there are too
	// many spaces to tell apart.
	Left int `json:"left_out,omitempty"`
}

// Softnet is by how much /proc/net/softnet_stat moved, over all processors. It is the machine's, not
// a namespace's.
type Softnet struct {
	Processed int64 `json:"processed"` // packets
	Dropped   int64 `json:"dropped"`   // because netdev_max_backlog was full
	Squeezed  int64 `json:"squeezed"`  // times that netdev_budget was used up before the work was done
}

// Timeline is a table of samples. Every column is as long as T.
type Timeline struct {
	T []float64 `json:"t_s"` // since the start of the measured time
	// Every is how many samples make a row: more than one in a long run.
	Every int `json:"samples_per_row"`
	// Sockets are numbers at that time: client.ESTABLISHED, server.SYN_RECV, tw, …
	Sockets map[string][]int64 `json:"sockets"`
	// Counters are differences to the sample before: TcpExt.ListenOverflows, …
	Counters map[string][]int64 `json:"counters"`
}

// Fullest is how the ports of the fullest four-tuple space were used at a time, in seconds since the
// start of the measured time, or a moment later: a census ends after what it sees.
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

// Peak is the largest number of the run's own sockets of a side in a state. It is not ok if there was
// no census.
func (v *Namespace) Peak(side, state string) (n int64, ok bool) {
	column := v.Timeline.Sockets[side+"."+state] // absent if there never was one
	if len(column) > 0 {
		n = slices.Max(column)
	}
	return n, v.Cost.Censuses > 0 || len(column) > 0
}

// ObserverCost is what the observation cost.
type ObserverCost struct {
	Samples  int     `json:"samples"`
	Censuses int     `json:"censuses"`
	CensusNS int64   `json:"census_ns"` // mean processor time of a census
	CPUShare float64 `json:"cpu_share"` // of one processor, 0 to 1
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
