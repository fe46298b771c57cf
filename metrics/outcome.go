package metrics

import (
	"fmt"
	"maps"
)

// Stage is the part of a connection's life in which an attempt ended. It tells a silent peer from a
// full accept queue: both end in a timeout.
type Stage uint8

// The stages, in the order in which a connection passes through them.
const (
	StageSocket   Stage = iota // socket(), bind() and their options
	StageConnect               // connect() called, not yet established
	StageHello                 // established, before the hello is over
	StageExchange              // established, requests or responses outstanding
	StageClose                 // waiting for the end of the other side
	Stages
)

var stageNames = [Stages]string{"socket", "connect", "hello", "exchange", "close"}

func (s Stage) String() string { return stageNames[s] }

// Outcome is how an attempt ended. Everything but Succeeded is a failure.
type Outcome uint8

// The outcomes. Those up to TimedOut come from an errno or a deadline, the others from the peer.
const (
	Succeeded           Outcome = iota
	PortsExhausted              // EADDRNOTAVAIL from connect(), EADDRINUSE from bind(): no free four-tuple
	DescriptorsExceeded         // EMFILE, ENFILE
	NoBuffers                   // ENOBUFS, ENOMEM
	Denied                      // EACCES, EPERM: a packet filter or a missing privilege
	BadAddress                  // EINVAL, EAFNOSUPPORT, or EADDRNOTAVAIL from bind()
	Refused                     // ECONNREFUSED: RST in answer to the SYN
	Unreachable                 // EHOSTUNREACH, ENETUNREACH
	Reset                       // ECONNRESET, EPIPE: RST on an established connection
	KernelTimeout               // ETIMEDOUT: the kernel gave up retransmitting
	TimedOut                    // our own deadline passed
	ClosedEarly                 // FIN before the response was whole
	Unexpected                  // bytes after the response, or a FIN where a RST was due
	PeerSilent                  // so many beats in a row had no answer that the peer counts as dead
	OtherError                  // an errno that has no name here
	Corrupted                   // a wrong byte in a response

	// Reasons of a tcpbench server that refuses (docs/protocol.md).
	ServerDescriptors // it has no file descriptor left
	ServerConnections // this address has all the connections that it may have
	ServerRate        // this address orders more bytes a second than it may
	ServerBytes       // the connection orders more bytes than it may
	ServerLife        // the connection is as old as it may become
	ServerSize        // a request or response is larger than the server allows
	ServerRefused     // a reason that has no name here
	Outcomes
)

var outcomeNames = [Outcomes]string{
	"succeeded", "ports_exhausted", "descriptors", "no_buffers", "denied",
	"bad_address", "refused", "unreachable", "reset", "kernel_timeout", "timeout",
	"closed_early", "unexpected", "peer_silent", "other_error", "corrupted",
	"server_descriptors", "server_connections", "server_rate", "server_bytes", "server_life",
	"server_size", "server_refused",
}

func (o Outcome) String() string { return outcomeNames[o] }

// FailureName is the key of a failure in a result: stage.outcome.
func FailureName(s Stage, o Outcome) string { return s.String() + "." + o.String() }

// Ends counts attempts by stage and outcome. One goroutine writes it.
type Ends [Stages][Outcomes]uint64

// Add adds the counts of other.
func (e *Ends) Add(other *Ends) {
	for s := range e {
		for o := range e[s] {
			e[s][o] += other[s][o]
		}
	}
}

// Sub subtracts the counts of an earlier state of the same Ends.
func (e *Ends) Sub(earlier *Ends) {
	for s := range e {
		for o := range e[s] {
			e[s][o] -= earlier[s][o]
		}
	}
}

// Succeeded is the number of attempts that reached the end of their script.
func (e *Ends) Succeeded() (n uint64) {
	for s := range e {
		n += e[s][Succeeded]
	}
	return n
}

// Failed has every failure that occurred, by name.
func (e *Ends) Failed() map[string]uint64 {
	failed := map[string]uint64{}
	for s := range e {
		for o := Succeeded + 1; o < Outcomes; o++ {
			if n := e[s][o]; n > 0 {
				failed[FailureName(Stage(s), o)] = n
			}
		}
	}
	return failed
}

// Tally counts attempts by how they ended: attempted = succeeded + failed + open.
type Tally struct {
	Attempted uint64            `json:"attempted"`
	Succeeded uint64            `json:"succeeded"`
	Failed    map[string]uint64 `json:"failed"`
	Open      uint64            `json:"open"` // attempts that had not ended when the run did
	// Missed are arrivals that were due and could not start, because all slots were taken. They are
	// not attempts.
	Missed uint64 `json:"missed"`
	// CheckedBytes of responses were right (--check-content).
	CheckedBytes uint64 `json:"checked_bytes,omitempty"`
}

// TotalFailed is the sum over all names of failures.
func (t Tally) TotalFailed() (n uint64) {
	for _, count := range t.Failed {
		n += count
	}
	return n
}

// Add adds the counts of other.
func (t *Tally) Add(other Tally) {
	t.Attempted += other.Attempted
	t.Succeeded += other.Succeeded
	t.Open += other.Open
	t.Missed += other.Missed
	t.CheckedBytes += other.CheckedBytes
	t.Failed = addCounts(t.Failed, other.Failed)
}

// addCounts adds two maps of counts into a new one: copies of a struct share its maps, so neither
// may change.
func addCounts(a, b map[string]uint64) map[string]uint64 {
	sum := maps.Clone(a)
	if sum == nil {
		sum = map[string]uint64{}
	}
	for name, n := range b {
		sum[name] += n
	}
	return sum
}

// Balance returns an error unless attempted = succeeded + failed + open.
func (t Tally) Balance() error {
	if sum := t.Succeeded + t.TotalFailed() + t.Open; sum != t.Attempted {
		return fmt.Errorf("counts do not balance: %d attempted, but %d succeeded + %d failed + %d open = %d",
			t.Attempted, t.Succeeded, t.TotalFailed(), t.Open, sum)
	}
	return nil
}
