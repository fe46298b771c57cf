package sockets

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
)

// scheduled counts the arrivals of a loop that are due in the measured time.
func scheduled(cfg loadgen.Config, loop int) (n uint64) {
	stop := int64(cfg.Warmup + cfg.Duration)
	for a := pace.NewArrivals(cfg.Plan(loop, uint64(cfg.Connections))); a.Due < stop; {
		if a.Take(a.Due) {
			n++
		}
	}
	return n
}

// An arrival that was due and has not started when the run ends is missed. Here a loop that was
// stopped for the last 800 ms has too little time to catch up.
func TestArrivalsLeftOverAreMissed(t *testing.T) {
	watchLeaks(t)
	cfg := loadgen.Config{
		Targets: to(serve(t, "127.0.0.1:0", echoes).addr), Sources: sources(t, "127.0.0.2-127.0.0.9"),
		Process: pace.Constant, Profile: pace.Steady(1000 * pace.PerSecond), Connections: 64, Loops: 1, Timeout: 10 * time.Millisecond,
		Lifecycle: loadgen.Lifecycle{ConnectOnly: true}, Duration: time.Second,
	}
	l, events := manualLoop(t, cfg)
	// The run began 1.005 s ago, and the first 200 arrivals have started.
	l.base = time.Now().Add(-cfg.Duration - cfg.Timeout/2)
	for range 200 {
		l.arrivals.Take(l.arrivals.Due)
	}
	l.clock()
	liveOn(t, l, events)
	if tally := l.result().Tally; tally.Attempted+tally.Missed != 800 || tally.Balance() != nil {
		t.Errorf("%d attempted + %d missed of 800 scheduled", tally.Attempted, tally.Missed)
	}
}

// An arrival that becomes due while a turn handles events starts after the present event, not after
// the last one. Here the clock jumps between the wait and the first event.
func TestArrivalsDoNotWaitForAllEvents(t *testing.T) {
	watchLeaks(t)
	const pending = 32
	l, _ := manualLoop(t, loadgen.Config{
		Targets: to(serve(t, "127.0.0.1:0", echoes).addr), Process: pace.Constant, Profile: pace.Steady(pace.PerSecond), Connections: 2 * pending,
		Duration: time.Minute, Lifecycle: loadgen.Lifecycle{Request: pinged, Response: exactly(4)},
	})
	for range pending {
		l.clock()
		l.arrive(l.now, true)
	}
	l.arrivals.Take(0) // the first is due at once, the second after a second
	until(t, "the handshakes", func() bool {
		for slot := range l.conns {
			if fd := l.conns[slot].fd; l.conns[slot].state == connecting && (tcpInfo(int(fd), &l.info) != 0 || l.info.State != unix.BPF_TCP_ESTABLISHED) {
				return false
			}
		}
		return true
	})
	n, err := l.poller.Wait(patience)
	if err != nil || n != pending {
		t.Fatalf("%d connected, %v", n, err)
	}
	next := l.free[len(l.free)-1]
	l.base = l.base.Add(-time.Second)
	l.deal(n)
	e, _ := l.poller.Event(n - 1)
	if started, event := &l.conns[next], &l.conns[e.Slot]; started.began == 0 || started.began > event.mark {
		t.Errorf("the arrival started at %d, the last event was handled at %d", started.began, event.mark)
	}
}
