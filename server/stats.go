package server

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/internal/wire"
	"tcpbench/metrics"
)

// Reason is why a connection ended. Its name is stable: results carry it.
type Reason uint8

// The reasons. docs/protocol.md says which bytes lead to which.
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

// Stats is what a server has counted since it started. Accepted = Open + the sum
// over Closed in every snapshot: see Balance.
type Stats struct {
	Accepted uint64 `json:"accepted"`
	// Open is the number of connections that exist, counted apart so that a lost count shows.
	Open         uint64 `json:"open"`
	Unaccepted   uint64 `json:"unaccepted"` // times that accept() failed; the connection waits
	Exchanges    uint64 `json:"exchanges"`  // requests read and answered in full
	BytesRead    uint64 `json:"bytes_read"`
	BytesWritten uint64 `json:"bytes_written"`
	// Stalled counts connections that did not take a response at once: the reader is slow, or
	// the response larger than the send buffer.
	Stalled uint64 `json:"stalled"`
	// Beats counts the pings of the server and of clients that it listens to; pings that it
	// answers are Exchanges.
	Beats metrics.Beats `json:"beats"`
	// Closed counts ended connections by the names of Reasons, all of them present.
	Closed map[string]uint64 `json:"closed"`
}

// Balance returns an error unless every accepted connection is open, or closed for exactly one
// reason.
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

// Merge returns the sum of two servers, with the reasons of both.
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

// counters belong to one loop and its stalled connections; anybody may read them.
type counters struct {
	_          [64]byte // no cache line is shared with another loop
	accepted   atomic.Uint64
	unaccepted atomic.Uint64 // calls of accept() that failed
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

// balancePatience bounds how long all engines together wait for a moment in which no connection
// is between two counts. It takes microseconds, unless a loop's thread has no processor.
const balancePatience = time.Second

// snapshot returns what the engine has counted, if possible at a moment in which it balances.
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

// live counts the connections of gnet and the stalled ones.
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

// vanished reports whether the kernel gave up a peer that sent neither FIN nor RST.
func vanished(err error) bool {
	return !errors.Is(err, unix.ECONNRESET) && !errors.Is(err, unix.EPIPE)
}

// times are what one loop has measured. Only a reader of the histograms competes for the lock.
type times struct {
	mu     sync.Mutex
	rtt    *metrics.Recorder
	detect *metrics.Recorder
	accept *metrics.Recorder
}

// record adds a duration to one of them, which its first sample makes: most servers never ping.
func (t *times) record(to **metrics.Recorder, ns int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case *to != nil:
	case to == &t.accept:
		*to = metrics.NewCoarseRecorder(tick)
	default:
		*to = metrics.NewRecorder()
	}
	(*to).Record(ns)
}

// reset forgets what was measured so far.
func (t *times) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rtt, t.detect, t.accept = nil, nil, nil
}

// Histograms returns what the server has measured since it started, or since Mark, by name: how
// long a sample of its connections had waited for accept(), the round trips of its own pings,
// and the time from the last sign of life of a peer with a heartbeat until the server noticed
// that it was gone. A histogram without a sample is left out.
func (s *Server) Histograms() (map[string]metrics.Histogram, error) {
	merged := map[string]*metrics.Recorder{}
	for _, e := range s.engines {
		e.times.mu.Lock()
		for name, r := range map[string]*metrics.Recorder{metrics.Heartbeat: e.times.rtt, metrics.ServerDetect: e.times.detect, metrics.AcceptDelay: e.times.accept} {
			if r == nil {
				continue
			}
			if merged[name] == nil {
				merged[name] = r.Empty()
			}
			merged[name].Merge(r)
		}
		e.times.mu.Unlock()
	}
	named := map[string]metrics.Histogram{}
	for name, r := range merged {
		h, err := r.Export()
		if err != nil {
			return nil, fmt.Errorf("server's %s: %w", name, err)
		}
		named[name] = h
	}
	return named, nil
}
