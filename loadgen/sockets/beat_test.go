package sockets

import (
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
	"tcpbench/metrics"
)

// fickle is a server that answers each byte by a byte, until it is told to do something else.
type fickle struct {
	net.Listener
	mood atomic.Int32
}

const (
	willing int32 = iota
	muted
	leaving
	killing
)

func newFickle(t *testing.T) *fickle {
	t.Helper()
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fickle{Listener: l}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go f.serve(c.(*net.TCPConn))
		}
	}()
	return f
}

func (f *fickle) serve(c *net.TCPConn) {
	defer c.Close()
	one := make([]byte, 1)
	for {
		if _, err := io.ReadFull(c, one); err != nil {
			return
		}
		switch f.mood.Load() {
		case willing:
			_, _ = c.Write(one)
		case leaving:
			return
		case killing:
			_ = c.SetLinger(0)
			return
		}
	}
}

func (f *fickle) addr() netip.AddrPort { return netip.MustParseAddrPort(f.Addr().String()) }

// held is a population with a heartbeat of one byte.
func held(f *fickle) loadgen.Config {
	return loadgen.Config{
		Targets: []netip.AddrPort{f.addr()}, Process: pace.Hold, Connections: 6, Loops: 2,
		HoldFor: 400 * time.Millisecond, Timeout: 5 * time.Second, OnExhausted: loadgen.CountExhausted,
		Lifecycle: loadgen.Lifecycle{
			Request: []byte("b"), Again: []byte("b"), Response: loadgen.Until{Kind: loadgen.Exactly, Bytes: 1},
			CloseBy: wire.Client, CloseHow: wire.FIN, StayToEnd: true,
			Beat: &loadgen.Heartbeat{Every: 20 * time.Millisecond, Missed: 3, Design: loadgen.ClientPings},
		},
	}
}

// lenient is how many beats a live peer may miss: a slow machine must not make it look dead.
const lenient = 100

func TestHeartbeatsAreAnswered(t *testing.T) {
	cfg := held(newFickle(t))
	cfg.Lifecycle.Beat.Missed = lenient
	report, err := Engine{}.Run(t.Context(), cfg, loadgen.Observer{})
	if err != nil {
		t.Fatal(err)
	}
	if report.Succeeded != 6 || report.Held != 6 || report.RampNS <= 0 {
		t.Errorf("%d of 6 succeeded, %d held, ramp %d ns: %v", report.Succeeded, report.Held, report.RampNS, report.Failed)
	}
	if b := report.Beats; b.Sent < b.Answered || b.Sent > b.Answered+b.Missed || b.Answered < 6 {
		t.Errorf("beats %+v", b)
	}
	if n := report.Histograms[metrics.Detect].Count; n != 0 {
		t.Errorf("%d dead peers of none", n)
	}
}

// A peer that falls silent, closes or is killed is noticed, and not sooner than possible.
func TestDeadPeersAreDetected(t *testing.T) {
	for _, tt := range []struct {
		name    string
		mood    int32
		failure string
		atLeast time.Duration // a silent peer has three beats to answer
		misses  uint64
	}{
		{"silent", muted, "exchange.peer_silent", 2 * 20 * time.Millisecond, 3},
		{"gone in order", leaving, "exchange.closed_early", 0, 0},
		{"killed", killing, "exchange.reset", 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFickle(t)
			cfg := held(f)
			cfg.HoldFor = patience // all are lost long before
			if tt.misses == 0 {
				cfg.Lifecycle.Beat.Missed = lenient
			}
			report, err := Engine{}.Run(t.Context(), cfg, loadgen.Observer{Period: func(p loadgen.Period) {
				if p == loadgen.Holding {
					f.mood.Store(tt.mood)
				}
			}})
			if err != nil {
				t.Fatal(err)
			}
			if err := report.Balance(); err != nil {
				t.Error(err)
			}
			if report.Failed[tt.failure] != 6 || report.Held != 0 {
				t.Errorf("%v, %d held, want 6 of %s", report.Failed, report.Held, tt.failure)
			}
			detect := report.Histograms[metrics.Detect]
			if detect.Count != 6 || detect.Min < int64(tt.atLeast) {
				t.Errorf("%d detected, the first after %v", detect.Count, time.Duration(detect.Min))
			}
			if report.Beats.Missed < 6*tt.misses {
				t.Errorf("%d beats missed, want %d or more", report.Beats.Missed, 6*tt.misses)
			}
		})
	}
}

// A population that replaces lost connections ends complete.
func TestReplacedPopulation(t *testing.T) {
	f := newFickle(t)
	cfg := held(f)
	cfg.Replace = true
	report, err := Engine{}.Run(t.Context(), cfg, loadgen.Observer{Period: func(p loadgen.Period) {
		if p == loadgen.Holding {
			f.mood.Store(leaving)
			time.AfterFunc(100*time.Millisecond, func() { f.mood.Store(willing) })
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	// A beat that crosses the server's close is answered by a RST, and a server on a busy machine
	// may answer late.
	lost := report.Failed["exchange.closed_early"] + report.Failed["exchange.reset"] + report.Failed["exchange.peer_silent"]
	if report.Attempted <= 6 || report.Held != 6 || lost != report.Attempted-6 || report.Succeeded != 6 {
		t.Errorf("%d attempted, %d held: %v", report.Attempted, report.Held, report.Failed)
	}
}
