package sockets

import (
	"sync/atomic"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
	"testing"
	"time"
)

// manualLoop is the only loop of a run that has begun, in the hands of the test: no
// thread lives it. The events that it tells are in the channel.
func manualLoop(t testing.TB, cfg loadgen.Config) (*loop, chan loopEvent) {
	t.Helper()
	cfg.Loops = 1
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	all, err := spaces(cfg.Targets, cfg.Sources)
	if err != nil {
		t.Fatal(err)
	}
	r := &run{Config: cfg, events: make(chan loopEvent, 64), base: time.Now(), upperHalf: new(atomic.Bool)}
	r.stopAt.Store(pace.Never)
	r.abandonAt.Store(pace.Never)
	r.holdFrom.Store(pace.Never)
	if cfg.Duration > 0 {
		r.stopAt.Store(int64(cfg.Warmup + cfg.Duration))
		r.abandonAt.Store(int64(cfg.Warmup + cfg.Duration + cfg.Timeout))
	}
	l, err := newLoop(r, 0, all)
	if err != nil {
		t.Fatal(err)
	}
	r.loops = []*loop{l}
	t.Cleanup(func() {
		for slot := range l.conns {
			if c := &l.conns[slot]; c.state != free && c.fd >= 0 {
				closeSocket(int(c.fd))
			}
		}
		_ = l.poller.Close()
	})
	return l, r.events
}

// liveOn gives a loop the thread that it lacks, until it has ended.
func liveOn(t testing.TB, l *loop, events chan loopEvent) {
	t.Helper()
	go l.live()
	for e := range events {
		if e.kind == loopDone {
			if e.err != nil {
				t.Error(e.err)
			}
			break
		}
	}
	for slot := range l.conns { // what it abandoned it has closed
		l.conns[slot].fd = -1
	}
}

// turns lets a loop turn until something is so.
func turns(t testing.TB, l *loop, yes func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !yes(); {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
		if err := l.turn(); err != nil {
			t.Fatal(err)
		}
	}
}
