package metrics

import "slices"

// Experiment is what was done to single connections, and what was seen of them.
type Experiment struct {
	// Family is IPv4 or IPv6. Earlier documents have none, and mean IPv4.
	Family string  `json:"family,omitempty"`
	Events []Event `json:"events"` // in order
	// Facts are drawn from the events; a verdict names them seen.NAME.
	Facts []Value `json:"facts"`
	// Unfinished says why it ended before its last step, so that facts may be missing.
	Unfinished string `json:"unfinished,omitempty"`
	// Table shows facts side by side, if they make a table.
	Table *Table `json:"table,omitempty"`
}

// Fact returns what an experiment found out under that name.
func (r *Result) Fact(name string) (v Value, ok bool) {
	if r.Experiment == nil {
		return v, false
	}
	i := slices.IndexFunc(r.Experiment.Facts, func(f Value) bool { return f.Name == name })
	if i < 0 {
		return v, false
	}
	return r.Experiment.Facts[i], true
}

// Table is a table of values.
type Table struct {
	Head []string   `json:"head"` // of the names and of each cell
	Rows []TableRow `json:"rows"`
}

// TableRow is a row of it.
type TableRow struct {
	Name  string  `json:"name"`
	Cells []Value `json:"cells"`
}

// The families of an experiment's connections.
const (
	IPv4 = "ipv4"
	IPv6 = "ipv6"
)

// Event is a moment of an experiment.
type Event struct {
	T    float64   `json:"t_s"` // seconds since its start
	Kind EventKind `json:"kind"`
	// Of is client or server: whose state or act it is, or who sent the segment. Empty is both.
	Of         string `json:"of,omitempty"`
	Text       string `json:"text"`                 // what happened: connect(), SYN_SENT, SYN seq 0
	Connection string `json:"connection,omitempty"` // if there are several
	// Label names a segment that is not the next step of a connection: retransmission, duplicate ACK,
	// window update, window probe, keepalive, or the answer to a probe.
	Label string `json:"label,omitempty"`
	// Fate of a segment is held or lost if it did not pass at once; released is when a held one passed.
	Fate string `json:"fate,omitempty"`
}

// EventKind is what an event is about.
type EventKind string

// The kinds of events.
const (
	Act     EventKind = "act"     // an application's call, or the experimenter's
	Change  EventKind = "state"   // a socket's new state
	Carried EventKind = "segment" // a segment on the link
	Remark  EventKind = "note"
)
