package metrics

import "fmt"

// Interval is one second of one client: what happened in it, and the state at its end.
type Interval struct {
	// Index counts intervals from zero at the start of the measured time.
	Index     int    `json:"index"`
	EndNS     int64  `json:"end_ns"`
	Attempted uint64 `json:"attempted"`
	Succeeded uint64 `json:"succeeded"`
	Failed    uint64 `json:"failed"`
	InFlight  int    `json:"in_flight"`
	Calls     Calls  `json:"calls"`
	// Connect holds the connections established in this interval.
	Connect Histogram `json:"connect"`
}

// Calls sums up connect() calls. If a range of ports is full, their time is that of the port search.
type Calls struct {
	Made      uint64 `json:"made"`      // those that found a port
	NS        int64  `json:"ns"`        // time inside them
	Exhausted uint64 `json:"exhausted"` // those that found no free four-tuple, repeated tries included
}

// Add adds other calls.
func (c *Calls) Add(other Calls) {
	c.Made += other.Made
	c.NS += other.NS
	c.Exhausted += other.Exhausted
}

// Since is what came after an earlier sum.
func (c Calls) Since(earlier Calls) Calls {
	return Calls{c.Made - earlier.Made, c.NS - earlier.NS, c.Exhausted - earlier.Exhausted}
}

// MergeIntervals makes a row of all clients' intervals of one index.
func MergeIntervals(parts []Interval) (Row, error) {
	var row Row
	connect := NewRecorder()
	var calls Calls
	for _, p := range parts {
		calls.Add(p.Calls)
		row.T = max(row.T, float64(p.EndNS)/1e9)
		row.Attempted += p.Attempted
		row.Succeeded += p.Succeeded
		row.Failed += p.Failed
		row.InFlight += p.InFlight
		if p.Connect.Count == 0 {
			continue
		}
		r, err := p.Connect.Recorder()
		if err != nil {
			return Row{}, fmt.Errorf("interval %d: %w", p.Index, err)
		}
		connect.Merge(r)
	}
	row.Exhausted = calls.Exhausted
	if calls.Made > 0 {
		row.ConnectCallMean = calls.NS / int64(calls.Made)
	}
	if connect.Count() > 0 {
		row.ConnectP50, row.ConnectP99, row.ConnectMax = connect.Quantile(.5), connect.Quantile(.99), connect.Max()
	}
	return row, nil
}
