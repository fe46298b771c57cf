package sockets

import (
	"testing"
	"time"

	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
)

// manualLoop returns the only loop of a run that has begun. It has no thread: the test turns it. Its
// events are in the channel.
func manualLoop(t testing.TB, cfg loadgen.Config) (*loop, chan loopEvent) {
	t.Helper()
	cfg = filledIn(cfg)
	cfg.Loops = 1
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	all, err := pace.Pairs(cfg.Targets, cfg.Sources)
	if err != nil {
		t.Fatal(err)
	}
	r := newRun(cfg, nil)
	r.events = make(chan loopEvent, 64)
	l, err := newLoop(r, 0, newTuples(&r.Config, 0, all))
	if err != nil {
		t.Fatal(err)
	}
	r.loops = []*loop{l}
	t.Cleanup(func() {
		l.abandon()
		_ = l.poller.Close()
	})
	return l, r.events
}

// liveOn gives a loop a thread, until it has ended.
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

// turns lets a loop turn until yes returns true.
func turns(t testing.TB, l *loop, yes func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !yes(); {
		if time.Now().After(deadline) {
			t.Fatal("what the test waits for has not come")
		}
		if err := l.round(); err != nil {
			t.Fatal(err)
		}
	}
}
