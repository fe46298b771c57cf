package server

import (
	"errors"
	"maps"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"tcpbench/internal/wire"
	"tcpbench/metrics"
)

// Reason is why a connection ended. Its name is stable: results carry it.
type Reason uint8

// The reasons. docs/protocol.md tells which bytes lead to which.
const (
	Completed        Reason = iota // the script was played to its end, and closed as it says
	Hello                          // a hello was answered and closed by the client
	Unused                         // the peer closed, by FIN or RST, before it sent a byte
	PeerClosedEarly                // FIN before the end of the script, or in place of a RST
	PeerReset                      // RST where the script has none
	PeerVanished                   // the kernel gave the peer up: ETIMEDOUT, EHOSTUNREACH
	NotAHeader                     // the first bytes are another protocol's
	UnknownVersion                 // a tcpbench header of another version
	ImpossibleScript               // a header that contradicts itself
	RequestTooLarge                // the script asks for more than Config.MaxRequest
	ResponseTooLarge               // the script asks for more than Config.MaxResponse
	ExcessData                     // bytes after the last request
	HeaderTimeout                  // no whole header in time
	RequestTimeout                 // a header or a first byte, but no whole request in time
	Silent                         // the peer gave no sign of life for as many beats as its script allows
	Forgotten                      // the peer closed, and the script has the server never do so
	Descriptors                    // refused: RLIMIT_NOFILE is near
	Shutdown                       // the server was stopped
	nreasons
)

var reasonNames = [nreasons]string{
	"completed", "hello", "unused", "peer_closed_early", "peer_reset", "peer_vanished",
	"not_a_header", "unknown_version", "impossible_script", "request_too_large",
	"response_too_large", "excess_data", "header_timeout", "request_timeout",
	"silent", "forgotten", "descriptors", "shutdown",
}

func (r Reason) String() string { return reasonNames[r] }

// Reasons lists all reasons.
func Reasons() []Reason {
	all := make([]Reason, nreasons)
	for i := range all {
		all[i] = Reason(i)
	}
	return all
}

// Stats is what a server has counted since it started. Accepted = Open + the sum
// over Closed in every snapshot.
type Stats struct {
	Accepted     uint64 `json:"accepted"`
	Open         uint64 `json:"open"`
	Unaccepted   uint64 `json:"unaccepted"` // times that accept() failed; the connection waits
	Exchanges    uint64 `json:"exchanges"`  // requests read and answered in full
	BytesRead    uint64 `json:"bytes_read"`
	BytesWritten uint64 `json:"bytes_written"`
	// Stalled counts connections that did not take a response at once: slow
	// readers, or responses larger than the send buffer.
	Stalled uint64 `json:"stalled"`
	// Beats counts the pings of the server and the pings of clients that it listened
	// to; those that it answers as a request are Exchanges.
	Beats metrics.Beats `json:"beats"`
	// Closed counts ended connections by the names of Reasons, all of them present.
	Closed map[string]uint64 `json:"closed"`
}

// Merge returns the sum of two servers. Reasons that only one of them knows stay.
func (s Stats) Merge(other Stats) Stats {
	s.Accepted += other.Accepted
	s.Open += other.Open
	s.Unaccepted += other.Unaccepted
	s.Exchanges += other.Exchanges
	s.BytesRead += other.BytesRead
	s.BytesWritten += other.BytesWritten
	s.Stalled += other.Stalled
	s.Beats.Add(other.Beats)
	closed := make(map[string]uint64, nreasons)
	maps.Copy(closed, s.Closed)
	for name, n := range other.Closed {
		closed[name] += n
	}
	s.Closed = closed
	return s
}

// counters belong to one loop and to its stalled connections; anybody reads.
type counters struct {
	_        [64]byte // no line shared with what the loop of another core writes
	accepted atomic.Uint64
	// unaccepted counts calls of accept() that failed.
	unaccepted atomic.Uint64
	exchanges  atomic.Uint64
	read       atomic.Uint64
	written    atomic.Uint64
	stalled    atomic.Uint64
	sent       atomic.Uint64 // pings
	answered   atomic.Uint64
	missed     atomic.Uint64
	closed     [nreasons]atomic.Uint64
	_          [64]byte
}

func (c *counters) snapshot() Stats {
	s := Stats{Closed: make(map[string]uint64, nreasons)}
	// Ends before beginnings: what ends in between is then still open, and a
	// connection is never counted as ended that was not yet accepted.
	for i := range c.closed {
		n := c.closed[i].Load()
		s.Closed[reasonNames[i]] = n
		s.Open -= n
	}
	s.Accepted = c.accepted.Load()
	s.Open += s.Accepted
	s.Unaccepted = c.unaccepted.Load()
	s.Exchanges = c.exchanges.Load()
	s.BytesRead = c.read.Load()
	s.BytesWritten = c.written.Load()
	s.Stalled = c.stalled.Load()
	s.Beats = metrics.Beats{Sent: c.sent.Load(), Answered: c.answered.Load(), Missed: c.missed.Load()}
	return s
}

// reasonOf names what wire.Parse found wrong.
func reasonOf(err error) Reason {
	switch {
	case errors.Is(err, wire.ErrMagic):
		return NotAHeader
	case errors.Is(err, wire.ErrVersion):
		return UnknownVersion
	}
	return ImpossibleScript
}

// vanished reports whether the kernel gave up a peer that said nothing, neither
// FIN nor RST.
func vanished(err error) bool {
	return !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.EPIPE)
}
