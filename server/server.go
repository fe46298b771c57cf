// Package server is the gnet server: it plays the other half of every lifecycle, misbehaviour
// included.
//
// A connection brings its own script in the header of its first request (package wire,
// docs/protocol.md), so one server serves every scenario at once and needs no configuration to
// match its clients. It closes by FIN or RST if the script leaves the close to the server, and
// waits for the peer's close if not. It counts every connection that it has accepted under
// exactly one Reason: accepted = open + the sum of the closed, in every snapshot. A peer that
// sends something else (another protocol, half a header, too much) is closed and counted.
//
// Each loop is a gnet engine of its own with one listening socket per address, bound by
// SO_REUSEPORT: loops share nothing, and backlog and linger reach every socket. Payload is
// counted and thrown away, and the content of responses exists once: large messages and slow
// readers take no memory here, only the kernel's buffers.
//
// It does not look into payloads and does not log. The client measures latency, except for what
// only a server can measure: the round trips of its own pings, and how long it took to notice
// that a client was gone.
package server

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Server is a running server.
type Server struct {
	cfg     Config
	ceiling int // a connection with this descriptor or a higher one is refused
	room    int // descriptors from there on, for connections that wait to be told so
	sources *sources
	engines []*engine
	started time.Time

	running   context.Context // until the server stops
	stopping  context.CancelFunc
	stalls    sync.WaitGroup // of stalled connections
	forgotten forgotten
	draining  atomic.Bool
	done      chan struct{}

	mu     sync.Mutex
	err    error
	marked Stats // counts when Mark was called last
}

// Start listens on all addresses and returns once every loop does.
func Start(cfg Config) (*Server, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	held, err := claimAll(cfg.Addrs)
	if err != nil {
		return nil, err
	}
	defer held.release()
	cfg.Addrs = held.addrs
	s := &Server{cfg: cfg, started: time.Now(), done: make(chan struct{})}
	s.running, s.stopping = context.WithCancel(context.Background())
	s.forgotten.all = map[int]*source{}
	s.sources = newSources(&s.cfg.Bounds)
	if s.ceiling, s.room, err = ceiling(&cfg, held); err != nil {
		return nil, err
	}
	var group sync.WaitGroup
	for i := range cfg.Loops {
		e := newEngine(s, i)
		s.engines = append(s.engines, e)
	}
	for _, e := range s.engines {
		group.Go(func() {
			if err := e.serve(); err != nil {
				s.fail(err)
			}
		})
	}
	go func() {
		group.Wait()
		s.stalls.Wait()
		s.releaseAll()
		close(s.done)
	}()
	for _, e := range s.engines {
		<-e.up
	}
	if err := s.Err(); err != nil {
		<-s.done
		return nil, err
	}
	return s, nil
}

// Addrs returns the addresses that the server listens on, in the order of the configuration,
// with the ports that were found free.
func (s *Server) Addrs() []netip.AddrPort { return slices.Clone(s.cfg.Addrs) }

// Stats returns the counts since the start. Any goroutine may ask, also after the end.
func (s *Server) Stats() (total Stats) {
	until := time.Now().Add(balancePatience)
	for _, e := range s.engines {
		total = total.Merge(e.snapshot(until))
	}
	return total
}

// Mark ends the warm-up of a run: Histograms are of the time from here on, and Marked are the
// counts up to here.
func (s *Server) Mark() {
	before := s.Stats()
	for _, e := range s.engines {
		e.times.reset()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marked = before
}

// Marked returns the counts when Mark was called last, all zero if it was not.
func (s *Server) Marked() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.marked
}

// Drain refuses new connections and waits until those that are open have ended, or until ctx is
// over. It returns how many are still open, for Stop to close.
func (s *Server) Drain(ctx context.Context) (open uint64) {
	s.draining.Store(true)
	for {
		open = 0
		for _, e := range s.engines {
			open += e.live()
		}
		if open == 0 || ctx.Err() != nil {
			return open
		}
		select {
		case <-time.After(drainPause):
		case <-ctx.Done():
		}
	}
}

// drainPause is how often Drain looks whether connections have ended.
const drainPause = 5 * time.Millisecond

// Stop closes the listening sockets and all connections at once, and waits until they are
// closed, or until ctx is over. It returns the error that has ended the server before, if any.
func (s *Server) Stop(ctx context.Context) error {
	s.halt()
	select {
	case <-s.done:
		return s.Err()
	case <-ctx.Done():
		return fmt.Errorf("stop the server: %w", ctx.Err())
	}
}

// Done is closed when the last loop has ended.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err returns why the server has ended by itself; nil while it runs and after Stop.
func (s *Server) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// fail ends the server: if only some of its loops ran, connections would stay in accept queues
// that nobody empties.
func (s *Server) fail(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = fmt.Errorf("server: %w", err)
	}
	s.mu.Unlock()
	s.halt()
}

func (s *Server) halt() {
	s.stopping()
	for _, e := range s.engines {
		e.stop()
	}
}
