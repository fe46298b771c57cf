// Package server is the gnet server: it plays the other half of every lifecycle,
// misbehaviour included.
//
// A connection brings its own script in the header of its first request (package
// wire, docs/protocol.md), so one server serves every scenario at once and needs
// no configuration to be in step with the clients. It closes by FIN or RST where
// the script leaves the close to the server, waits for the peer's close where it
// does not, and counts every connection it has accepted under exactly one Reason:
// accepted = open + the sum of the closed, in every snapshot. Whoever sends
// something else (another protocol, half a header, too much) is closed and
// counted, never argued with.
//
// Each loop is a gnet engine of its own with one listening socket per address,
// bound by SO_REUSEPORT: loops share nothing, and backlog and linger reach every
// socket. Payload is counted and thrown away, and the content of responses exists once: neither
// large messages nor slow readers take memory here, only the kernel's buffers.
//
// It does not look into payloads and does not log. Latency is the client's to measure,
// but for what only a server can: the round trips of its own pings, and how long it
// took to notice that a client was gone.
package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Config says how to listen. Its zero value needs only addresses.
type Config struct {
	// Addrs are the addresses to listen on; port 0 takes a free port, the same for
	// all loops, from which connect() does not choose if there is one.
	Addrs []netip.AddrPort
	// Loops is the number of event loops; 0 = one per CPU.
	Loops int
	// Backlog is the accept queue of each listening socket, of which every loop has
	// its own; 0 = as large as net.core.somaxconn allows.
	Backlog int
	// Linger is SO_LINGER of every connection in seconds; nil = the kernel's
	// default, a close in the background. With 0 every close by the server is a
	// RST, whatever the script says; with more, close() blocks its whole loop until
	// the peer has acknowledged everything or the time is over.
	Linger *int
	// Echo sends everything back until the peer closes; there is no header then.
	Echo bool
	// HeaderTimeout bounds the wait for the first request from accept() on, and for
	// each further one from its first byte on; 0 = 10 s, negative = none.
	HeaderTimeout time.Duration
	// MaxRequest and MaxResponse bound the payload of one exchange in bytes; 0 = 16 MiB.
	MaxRequest, MaxResponse uint32
	// Bounds are what clients may order; zero = anything.
	Bounds Bounds
	// Reserve is the number of file descriptors that connections leave to the rest
	// of the process; 0 = 32 and two per loop.
	Reserve int
	// Room is the number of descriptors, besides half of the reserve, for connections that
	// wait to be told that they are refused. It is no more than an eighth of them all.
	Room int
	Options
}

// lockThread does not pay here: between two rounds gnet yields, and a locked
// thread yields by a futex instead of a jump.
const lockThread = false

const (
	maxLoops       = 256
	defaultTimeout = 10 * time.Second
	defaultMax     = 16 << 20
	defaultReserve = 32
)

// Server is a running server.
type Server struct {
	cfg     Config
	addrs   []netip.AddrPort
	ceiling int // the first descriptor of which a connection is refused
	room    int // descriptors from there on for connections that wait to be told so
	sources *sources
	engines []*engine
	crowd   crowd
	started time.Time

	forgotten forgotten
	draining  atomic.Bool
	ended     chan struct{} // a connection has ended while draining
	stopping  atomic.Bool
	done      chan struct{}

	mu     sync.Mutex
	err    error
	marked Stats // when Mark was called last
}

// over is a context that has ended.
var over = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

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
	s := &Server{cfg: cfg, addrs: held.addrs, started: time.Now(),
		ended: make(chan struct{}, 1), done: make(chan struct{})}
	s.crowd.files, s.crowd.over = map[*os.File]struct{}{}, make(chan struct{})
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
		s.crowd.group.Wait()
		s.release(0, true)
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

// complete checks the configuration and fills in what it leaves open.
func (c *Config) complete() error {
	switch {
	case len(c.Addrs) == 0:
		return errors.New("no address to listen on")
	case c.Loops < 0 || c.Loops > maxLoops:
		return fmt.Errorf("%d loops: want 1 to %d, or 0 for one per CPU", c.Loops, maxLoops)
	case c.Backlog < 0 || c.Backlog > math.MaxInt32:
		return fmt.Errorf("backlog %d: want 1 or more, or 0 for somaxconn", c.Backlog)
	case c.Linger != nil && (*c.Linger < 0 || *c.Linger > math.MaxInt16):
		return fmt.Errorf("linger %d s: want 0 to %d, or none for the kernel's default", *c.Linger, math.MaxInt16)
	case c.Reserve < 0:
		return fmt.Errorf("reserve %d: want 1 descriptor or more, or 0 for the default", c.Reserve)
	case c.Room < 0:
		return fmt.Errorf("room %d: want 0 descriptors or more", c.Room)
	}
	if err := errors.Join(c.Options.Check(), c.Bounds.check()); err != nil {
		return err
	}
	c.Addrs = slices.Clone(c.Addrs)
	c.Loops = cmp.Or(c.Loops, min(runtime.NumCPU(), maxLoops))
	c.HeaderTimeout = cmp.Or(c.HeaderTimeout, defaultTimeout)
	c.MaxRequest = cmp.Or(c.MaxRequest, defaultMax)
	c.MaxResponse = cmp.Or(c.MaxResponse, defaultMax)
	c.Reserve = cmp.Or(c.Reserve, defaultReserve+2*c.Loops)
	return nil
}

// opened is more descriptors than a process has before it listens.
const opened = 16

// Most is for how many connections a server of so many loops and addresses has descriptors in
// a process that may have limit of them, if its Config has no Reserve and no Room. It is zero
// or less where there are none.
func Most(limit, loops, addrs int) int {
	return limit - (defaultReserve + 2*loops) - (opened + addrs + loops*(addrs+2))
}

// ceiling is the first descriptor that no connection may have but to wait for its refusal,
// and the number of those.
func ceiling(cfg *Config, held *claim) (first, room int, err error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, 0, os.NewSyscallError("getrlimit", err)
	}
	top := int(min(limit.Cur, math.MaxInt32)) - cfg.Reserve
	// Sockets, epoll and eventfd of each loop come on top of what is open now.
	base := slices.Max(held.fds) + 1 + cfg.Loops*(len(cfg.Addrs)+2)
	if top <= base {
		return 0, 0, fmt.Errorf("the limit of %d open files leaves none for connections"+
			" (%d for sockets of %d loops and what is open, %d in reserve): raise it (ulimit -n)",
			limit.Cur, base, cfg.Loops, cfg.Reserve)
	}
	room = min(cfg.Room, (top-base)/8)
	return top - room, room + cfg.Reserve/2, nil
}

// Addrs are the addresses that the server listens on, in the order of the
// configuration, with the ports that were found free.
func (s *Server) Addrs() []netip.AddrPort { return slices.Clone(s.addrs) }

// Loops is the number of event loops.
func (s *Server) Loops() int { return len(s.engines) }

// Backlog is the accept queue of each listening socket as the kernel has granted it.
func (s *Server) Backlog() int { return s.engines[0].backlog }

// Stats are the counts since the start, by any goroutine and also after the end.
func (s *Server) Stats() (total Stats) {
	until := time.Now().Add(balancePatience)
	for _, e := range s.engines {
		total = total.Merge(e.snapshot(until))
	}
	return total
}

// Mark says that the warm-up of a run is over: Histograms are of the time from here on, and
// Marked are the counts up to here.
func (s *Server) Mark() {
	before := s.Stats()
	for _, e := range s.engines {
		e.times.reset()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.marked = before
}

// Marked are the counts when Mark was called last, all zero if it was not.
func (s *Server) Marked() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.marked
}

// Drain refuses new connections and waits until those that are open have ended, or until
// ctx is over. It returns the number of those that are still open, for Stop to close.
func (s *Server) Drain(ctx context.Context) (open uint64) {
	s.draining.Store(true)
	for {
		open = 0
		for _, e := range s.engines {
			open += e.live()
		}
		if open == 0 {
			return 0
		}
		select {
		case <-s.ended:
		case <-s.done:
		case <-ctx.Done():
			return open
		}
	}
}

// noteEnd wakes Drain.
func (s *Server) noteEnd() {
	if s.draining.Load() {
		select {
		case s.ended <- struct{}{}:
		default: // it is about to look anyway
		}
	}
}

// Stop closes the listening sockets and all connections at once, and waits until they are,
// or until ctx is over. It returns what has ended the server before.
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

// Err tells why the server has ended by itself; nil while it runs and after Stop.
func (s *Server) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// fail ends the server: one that listens with only some of its loops would leave
// connections in accept queues that nobody empties.
func (s *Server) fail(err error) {
	s.mu.Lock()
	if s.err == nil {
		s.err = fmt.Errorf("server: %w", err)
	}
	s.mu.Unlock()
	s.halt()
}

func (s *Server) halt() {
	if s.stopping.Swap(true) {
		return
	}
	s.crowd.stop()
	for _, e := range s.engines {
		e.stop()
	}
}
