package server

import (
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/internal/wire"
	"tcpbench/metrics"
)

// Reason is why a connection ended. Its name is stable: results carry it.
type Reason uint8

// The reasons. docs/protocol.md tells which bytes lead to which.
const (
	Completed           Reason = iota // the script was played to its end, and closed as it says
	Hello                             // a hello was answered and closed by the client
	Unused                            // the peer closed, by FIN or RST, before it sent a byte
	PeerClosedEarly                   // FIN before the end of the script, or in place of a RST
	PeerReset                         // RST where the script has none
	PeerVanished                      // the kernel gave the peer up: ETIMEDOUT, EHOSTUNREACH
	NotAHeader                        // the first bytes are another protocol's
	UnknownVersion                    // a tcpbench header of another version
	ImpossibleScript                  // a header that contradicts itself
	RequestTooLarge                   // the script asks for more than Config.MaxRequest
	ResponseTooLarge                  // the script asks for more than Config.MaxResponse
	ExcessData                        // bytes after the last request
	HeaderTimeout                     // no whole header in time
	RequestTimeout                    // a header or a first byte, but no whole request in time
	Silent                            // the peer gave no sign of life for as many beats as its script allows
	Forgotten                         // the peer closed, and the script has the server never do so
	Descriptors                       // refused: RLIMIT_NOFILE is near
	ConnectionsExceeded               // refused: the source has as many as Bounds.Connections
	RateExceeded                      // refused: the source orders more than Bounds.Rate
	BytesExceeded                     // refused: the script orders more than Bounds.Bytes
	LifeExceeded                      // refused: it has lived for Bounds.Life
	Shutdown                          // the server was stopped
	nreasons
)

var reasonNames = [nreasons]string{
	"completed", "hello", "unused", "peer_closed_early", "peer_reset", "peer_vanished",
	"not_a_header", "unknown_version", "impossible_script", "request_too_large",
	"response_too_large", "excess_data", "header_timeout", "request_timeout",
	"silent", "forgotten", "descriptors", "connections_exceeded", "rate_exceeded",
	"bytes_exceeded", "life_exceeded", "shutdown",
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
// over Closed in every snapshot: see Balance.
type Stats struct {
	Accepted uint64 `json:"accepted"`
	// Open is the number of connections that exist. It is not the difference of the
	// others, so that a count that was lost shows.
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

// Balance returns an error unless every accepted connection is either open or closed for
// exactly one reason.
func (s *Stats) Balance() error {
	closed := uint64(0)
	for _, n := range s.Closed {
		closed += n
	}
	if s.Accepted != s.Open+closed {
		return fmt.Errorf("counts do not balance: %d accepted, but %d open + %d closed", s.Accepted, s.Open, closed)
	}
	return nil
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
	for i := range c.closed {
		s.Closed[reasonNames[i]] = c.closed[i].Load()
	}
	s.Accepted = c.accepted.Load()
	s.Unaccepted = c.unaccepted.Load()
	s.Exchanges = c.exchanges.Load()
	s.BytesRead = c.read.Load()
	s.BytesWritten = c.written.Load()
	s.Stalled = c.stalled.Load()
	s.Beats = metrics.Beats{Sent: c.sent.Load(), Answered: c.answered.Load(), Missed: c.missed.Load()}
	return s
}

// balancePatience bounds the wait, of all engines together, for moments in which no connection
// is between two counts. Each takes microseconds, or as long as a loop's thread has no processor.
const balancePatience = time.Second

// snapshot is what the engine has counted, at a moment before until in which it balances if there
// is one.
func (e *engine) snapshot(until time.Time) Stats {
	for {
		s := e.counters.snapshot()
		s.Open = e.live()
		if s.Balance() == nil || time.Now().After(until) {
			return s
		}
		time.Sleep(20 * time.Microsecond)
	}
}

// live counts the connections that gnet has, and those that have moved to their own
// goroutines.
func (e *engine) live() uint64 {
	return uint64(max(e.gnet.CountConnections(), 0) + int(e.playing.Load())) // -1 when gnet has ended
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
