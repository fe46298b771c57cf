package metrics

import (
	"cmp"
	"fmt"
	"slices"
)

// ClientReport is what one client process measured. Reports of clients that ran together merge
// without loss. The measured time excludes warm-up and drain.
type ClientReport struct {
	Tally // of attempts that began in the measured time
	// InTime are the attempts that succeeded within it, and EndedInTime all that ended within it,
	// whenever they began.
	InTime      uint64 `json:"in_time"`
	EndedInTime uint64 `json:"ended_in_time"`
	ElapsedNS   int64  `json:"elapsed_ns"`
	// SYNs are the connect() calls that entered SYN_SENT (Tcp ActiveOpens), Established those of
	// them that the client saw established; both include the warm-up.
	SYNs        uint64 `json:"syns"`
	Established uint64 `json:"established"`
	// ExhaustedNS is how long arrivals were held back because no four-tuple was free.
	ExhaustedNS int64 `json:"exhausted_ns"`
	// Exhaustion is the first connect() that found no free four-tuple.
	Exhaustion *Exhaustion `json:"exhaustion,omitempty"`
	TCP        TCPSample   `json:"tcp"`
	// MPTCP is zero if the client has plain TCP sockets.
	MPTCP MPTCP `json:"mptcp"`
	// RampNS is the time until all of a held population had their first exchange; zero if that
	// never happened.
	RampNS int64 `json:"ramp_ns,omitempty"`
	// Held are the connections established when the measured time ended.
	Held uint64 `json:"held"`
	// Hold is zero if no population was held.
	Hold   HoldReport `json:"hold"`
	Beats  Beats      `json:"beats"`
	Bursts []Burst    `json:"bursts,omitempty"`
	// Said is what the server answered on connections that failed.
	Said *Said `json:"said,omitempty"`
	// Stopped says why the run ended before its bound, if it did.
	Stopped    string               `json:"stopped,omitempty"`
	Histograms map[string]Histogram `json:"histograms"`
	Loops      []LoopReport         `json:"loops"`
	UserNS     int64                `json:"user_ns"`
	SystemNS   int64                `json:"system_ns"`
	MaxRSS     uint64               `json:"max_rss"`
}

// Exhaustion is a moment at which a connect() found no free four-tuple (EADDRNOTAVAIL).
type Exhaustion struct {
	AtNS int64 `json:"at_ns"` // since the start of the measured time
	// Source and Target name the four-tuple space; Source is empty if the kernel chose the address.
	Source string `json:"source,omitempty"`
	Target string `json:"target"`
	// Ports is the size of the range of local ports. TimeWait of them were in TIME_WAIT and InUse in
	// other states, as the nearest census saw the fullest space. All are zero if nobody watched.
	Ports    int   `json:"ports,omitempty"`
	TimeWait int64 `json:"time_wait,omitempty"`
	InUse    int64 `json:"in_use,omitempty"`
}

// Earlier is the first of two moments; nil is none.
func Earlier(a, b *Exhaustion) *Exhaustion {
	if a == nil || b != nil && b.AtNS < a.AtNS {
		return b
	}
	return a
}

// TCPSample sums up TCP_INFO of a sample of connections, when they were established and before they
// were closed. The sample has all that took 200 ms or more to establish.
type TCPSample struct {
	Established    uint64 `json:"established"`     // asked when established
	SYNRetransmits uint64 `json:"syn_retransmits"` // SYNs that these had sent again
	NoticedNS      int64  `json:"noticed_max"`     // the longest time that one was established before the client knew
	Closed         uint64 `json:"closed"`          // asked before their close
	Retransmits    uint64 `json:"retransmits"`     // segments that these had sent again, SYNs included
	Retransmitted  uint64 `json:"retransmitted"`   // how many of these had sent any again
	MSS            uint32 `json:"mss"`             // the smallest that was seen, in bytes
}

// Add adds another sample.
func (s *TCPSample) Add(other TCPSample) {
	s.Established += other.Established
	s.SYNRetransmits += other.SYNRetransmits
	s.NoticedNS = max(s.NoticedNS, other.NoticedNS)
	s.Closed += other.Closed
	s.Retransmits += other.Retransmits
	s.Retransmitted += other.Retransmitted
	s.Seen(other.MSS)
}

// Seen notes the maximum segment size of a connection.
func (s *TCPSample) Seen(mss uint32) {
	if s.MSS == 0 || mss > 0 && mss < s.MSS {
		s.MSS = mss
	}
}

// LoopReport tells how busy one event loop was in the measured time.
type LoopReport struct {
	// BusyNS is the time in which the loop was not waiting for an event.
	BusyNS int64 `json:"busy_ns"`
	// CPUNS is the processor time of the loop's thread. Less than BusyNS means
	// that others had the processor while the loop had work.
	CPUNS int64  `json:"cpu_ns"`
	Turns uint64 `json:"turns"`
}

// Beats counts heartbeats, by the side that sends the pings. A server that only listens counts
// those that it heard as answered. A beat without an answer yet at the end is neither answered nor missed.
// One that the client skipped because it was late is missed, and not sent.
type Beats struct {
	Sent     uint64 `json:"sent"`
	Answered uint64 `json:"answered"`
	Missed   uint64 `json:"missed"`
}

// Add adds the counts of other.
func (b *Beats) Add(other Beats) {
	b.Sent += other.Sent
	b.Answered += other.Answered
	b.Missed += other.Missed
}

// Since is what came after an earlier count.
func (b Beats) Since(earlier Beats) Beats {
	return Beats{b.Sent - earlier.Sent, b.Answered - earlier.Answered, b.Missed - earlier.Missed}
}

// HoldReport is about a held population. Times are nanoseconds.
type HoldReport struct {
	Opened uint64 `json:"opened"` // connections established at the end of the ramp
	// NS is how long it was kept after the ramp, and Beats are those of the client in that time.
	NS    int64 `json:"ns"`
	Beats Beats `json:"beats"`
	// RampCPUNS is the client's processor time during the ramp, CPUNS afterwards.
	RampCPUNS int64 `json:"ramp_cpu_ns"`
	CPUNS     int64 `json:"cpu_ns"`
}

// Add adds what another loop or client held at the same time.
func (h *HoldReport) Add(other HoldReport) {
	h.Opened += other.Opened
	h.NS = max(h.NS, other.NS)
	h.Beats.Add(other.Beats)
	h.RampCPUNS += other.RampCPUNS
	h.CPUNS += other.CPUNS
}

// Burst is what one or more loops issued for one instant. Times are nanoseconds since the start of
// the run.
type Burst struct {
	Due   int64  `json:"due_ns"`
	First int64  `json:"first_ns"` // when the first connect() began
	Last  int64  `json:"last_ns"`  // when the last one began
	Count uint64 `json:"count"`
}

// MergeBursts joins the parts of each burst, in the order of their instants.
func MergeBursts(parts []Burst) []Burst {
	all := slices.Clone(parts)
	slices.SortStableFunc(all, func(a, b Burst) int { return cmp.Compare(a.Due, b.Due) })
	var merged []Burst
	for _, p := range all {
		last := len(merged) - 1
		if last < 0 || merged[last].Due != p.Due {
			merged = append(merged, p)
			continue
		}
		m := &merged[last]
		m.First, m.Last, m.Count = min(m.First, p.First), max(m.Last, p.Last), m.Count+p.Count
	}
	return merged
}

// Merge adds the report of another client that ran at the same time.
func (r *ClientReport) Merge(other ClientReport) error {
	histograms, err := MergeHistograms(r.Histograms, other.Histograms)
	if err != nil {
		return fmt.Errorf("merge client reports: %w", err)
	}
	r.Tally.Add(other.Tally)
	r.InTime += other.InTime
	r.EndedInTime += other.EndedInTime
	r.ElapsedNS = max(r.ElapsedNS, other.ElapsedNS)
	r.SYNs += other.SYNs
	r.Established += other.Established
	r.ExhaustedNS += other.ExhaustedNS
	r.Exhaustion = Earlier(r.Exhaustion, other.Exhaustion)
	r.TCP.Add(other.TCP)
	r.MPTCP.Add(other.MPTCP)
	r.RampNS = max(r.RampNS, other.RampNS)
	r.Held += other.Held
	r.Hold.Add(other.Hold)
	r.Beats.Add(other.Beats)
	r.Said = r.Said.Merge(other.Said)
	r.Bursts = MergeBursts(slices.Concat(r.Bursts, other.Bursts))
	if r.Stopped == "" {
		r.Stopped = other.Stopped
	}
	r.Histograms = histograms
	r.Loops = slices.Concat(r.Loops, other.Loops)
	r.UserNS += other.UserNS
	r.SystemNS += other.SystemNS
	r.MaxRSS += other.MaxRSS
	return nil
}
