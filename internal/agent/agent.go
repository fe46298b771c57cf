// Package agent runs the two sides of a run in processes of their own: the same binary
// again, each with its own accounting of processor time, its own limit of descriptors
// and, later, its own network namespace.
//
// A coordinator and its children speak a small typed protocol (Message): prepare, start,
// sample, stop, and what comes back. It knows nothing of what is measured and why; that
// is the business of package scenarios.
package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/loadgen"
	"tcpbench/loadgen/sockets"
	"tcpbench/metrics"
	"tcpbench/server"
)

// Invoked tells whether this process was started by Spawn. A program that spawns
// children asks it first of all, and then calls Main.
func Invoked() bool { return len(os.Args) == 2 && strings.HasPrefix(os.Args[1], argument+" ") }

// inherited is the descriptor of a child's socket: the first behind stderr.
const inherited = 3

// Main is a child's life. It returns the exit code.
func Main() int {
	// The coordinator decides when a run ends, also where a signal reaches all processes
	// of one name or one control group.
	signal.Ignore(syscall.SIGINT, syscall.SIGHUP, syscall.SIGTERM)
	conn := NewConn(os.NewFile(inherited, "coordinator"))
	err := serve(conn)
	if err == nil || errors.Is(err, io.EOF) {
		return 0
	}
	_ = conn.Send(Message{Type: Failed, Error: err.Error()})
	return 1
}

func serve(conn *Conn) error {
	m, err := conn.Receive()
	if err != nil {
		return err
	}
	switch {
	case m.Type == Prepare && m.Client != nil:
		return serveClient(conn, *m.Client)
	case m.Type == Prepare && m.Server != nil:
		return serveServer(conn, *m.Server)
	}
	return fmt.Errorf("said %q before prepare", m.Type)
}

// serveClient is the life of a client: ready, started, done.
func serveClient(conn *Conn, cfg loadgen.Config) error {
	if err := conn.Send(Message{Type: Ready}); err != nil {
		return err
	}
	switch m, err := conn.Receive(); {
	case err != nil || m.Type == Stop:
		return err
	case m.Type != Start:
		return fmt.Errorf("said %q before start", m.Type)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	begin := make(chan func(), 1)
	var upper, over atomic.Bool
	go func() {
		for {
			switch m, err := conn.Receive(); {
			case err != nil && over.Load(): // the coordinator may have the result already
				return
			case err != nil:
				// The coordinator is gone: nobody wants the result.
				os.Exit(1)
			case m.Type == Stop:
				cancel()
			case m.Type == Begin:
				// Sent only after Phase has told that the population is there.
				(<-begin)()
			case m.Type == Upper:
				upper.Store(true)
			case m.Type == Sample:
				_ = conn.Send(Message{Type: Sampled, Usage: usage()})
			default:
				_ = conn.Send(Message{Type: Failed, Error: fmt.Sprintf("said %q in the middle of a run", m.Type)})
				os.Exit(1)
			}
		}
	}()
	report, err := sockets.Engine{}.Run(ctx, cfg, loadgen.Observer{
		UpperHalf: &upper,
		Phase: func(p loadgen.Phase) {
			m := Message{Type: Phase, Phase: p}
			if p == loadgen.WarmingUp {
				m.At = time.Now().Add(cfg.Warmup)
			}
			_ = conn.Send(m)
		},
		Interval: func(i metrics.Interval) { _ = conn.Send(Message{Type: Interval, Interval: &i}) },
		Holds: func(hold func()) {
			// What the ramp has left behind is not what a population costs.
			debug.FreeOSMemory()
			begin <- hold
			_ = conn.Send(Message{Type: Phase, Phase: loadgen.Holding})
		},
	})
	if err != nil {
		return err
	}
	over.Store(true)
	return conn.Send(Message{Type: Done, Report: &report})
}

// serveServer is the life of a server: it ends with the coordinator.
func serveServer(conn *Conn, cfg server.Config) error {
	s, err := server.Start(cfg)
	if err != nil {
		return err
	}
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), cfg.Loops+1))
	go func() {
		<-s.Done()
		// A server that ends by itself has run into something it cannot live with.
		_ = conn.Send(Message{Type: Failed, Error: fmt.Sprintf("server ended: %v", s.Err())})
		os.Exit(1)
	}()
	if err := conn.Send(Message{Type: Ready, Addrs: s.Addrs()}); err != nil {
		return err
	}
	for {
		m, err := conn.Receive()
		switch {
		case err != nil || m.Type == Stop:
			return err
		case m.Type == Mark:
			if wait := time.Until(m.At); wait > 0 {
				time.AfterFunc(wait, s.Mark)
			} else {
				s.Mark()
			}
			continue
		case m.Type != Sample:
			return fmt.Errorf("said %q to a server that is ready", m.Type)
		}
		u := usage()
		u.Server = served(s)
		if u.Histograms, err = s.Histograms(); err != nil {
			return err
		}
		if err := conn.Send(Message{Type: Sampled, Usage: u}); err != nil {
			return err
		}
	}
}

// served is what a server has counted since it was marked.
func served(s *server.Server) *metrics.ServerReport {
	before := s.Marked() // first: it never exceeds what is counted after it
	report := reportOf(s.Stats())
	if before.Closed != nil {
		report = report.Since(reportOf(before))
	}
	return &report
}

func reportOf(s server.Stats) metrics.ServerReport {
	r := metrics.ServerReport{Accepted: s.Accepted, Open: s.Open, Exchanges: s.Exchanges, Closed: s.Closed}
	if s.Beats != (metrics.Beats{}) {
		r.Beats = &s.Beats
	}
	return r
}

func usage() *Usage {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return &Usage{}
	}
	return &Usage{UserNS: u.Utime.Nano(), SystemNS: u.Stime.Nano(), MaxRSS: uint64(u.Maxrss) << 10}
}
