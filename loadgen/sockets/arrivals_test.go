package sockets

import (
	"fmt"
	"math"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// fakeLoop is a loop without a poller: what decides about arrivals, on a clock that
// the test moves. Nothing is connected.
func fakeLoop(cfg loadgen.Config, id int) *loop {
	r := &run{Config: cfg}
	r.stopAt.Store(pace.Never)
	r.abandonAt.Store(pace.Never)
	if cfg.Duration > 0 {
		r.stopAt.Store(int64(cfg.Warmup + cfg.Duration))
		r.abandonAt.Store(int64(cfg.Warmup + cfg.Duration + cfg.Timeout))
	}
	slots := pace.Share(uint64(cfg.Connections), id, cfg.Loops)
	l := &loop{
		run: r, id: id, conns: make([]conn, slots), open: cfg.Process != pace.Closed,
		quota: pace.Never, measureFrom: int64(cfg.Warmup),
	}
	if cfg.Count > 0 {
		l.quota = pace.Share(cfg.Count, id, cfg.Loops)
	}
	for slot := range int32(slots) {
		l.freeSlots = append(l.freeSlots, slot)
	}
	l.arrivals = pace.NewArrivals(cfg.Plan(id))
	return l
}

// scheduled counts the arrivals of a loop that are due in the measured time.
func scheduled(cfg loadgen.Config, id int) (n uint64) {
	a := pace.NewArrivals(cfg.Plan(id))
	for ; a.Due < int64(cfg.Warmup+cfg.Duration); a.Advance() {
		if a.Due >= int64(cfg.Warmup) {
			n++
		}
	}
	return n
}

// An open loop is driven through stalls and full slabs. Every arrival of the schedule
// is started once or counted as missed, in order and never early; those that are late
// start at no more than twice the rate, and none a second late.
func TestOpenArrivalsAreStartedOrMissed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := loadgen.Config{
			Process:     rapid.SampledFrom([]pace.Process{pace.Constant, pace.Poisson}).Draw(t, "process"),
			Profile:     pace.Steady(pace.Rate(rapid.IntRange(1, 2000).Draw(t, "rate")) * pace.PerSecond),
			Seed:        rapid.Uint64().Draw(t, "seed"),
			Loops:       rapid.IntRange(1, 4).Draw(t, "loops"),
			Connections: 16,
			Timeout:     time.Second,
			Warmup:      time.Duration(rapid.IntRange(0, 1500).Draw(t, "warm-up")) * time.Millisecond,
			Duration:    time.Duration(rapid.IntRange(1, 3000).Draw(t, "duration")) * time.Millisecond,
		}
		id := rapid.IntRange(0, cfg.Loops-1).Draw(t, "loop")
		l := fakeLoop(cfg, id)
		gap := float64(cfg.Loops) * 1e9 / cfg.Profile[0].From.PerSecond()
		all := l.freeSlots
		var attempted, lateRow uint64
		var lastDue, lastStart, rowBegan int64
		lastDue, lastStart = -1, -1
		// A stall of any length, now and then, with or without slots meanwhile.
		stall := rapid.Custom(func(t *rapid.T) int64 {
			return rapid.Int64Range(0, 1<<rapid.IntRange(10, 31).Draw(t, "bits")).Draw(t, "stall")
		})
		for !l.done() {
			start, due := l.nextArrival()
			if start == pace.Never {
				break
			}
			if start > l.now {
				l.now = start
				if rapid.IntRange(0, 9).Draw(t, "stalls") == 0 {
					l.now += stall.Draw(t, "stall")
				}
				l.freeSlots = all
				if rapid.IntRange(0, 19).Draw(t, "full") == 0 {
					l.freeSlots = all[:0]
				}
				continue
			}
			late := l.now - due
			switch {
			case start != l.now:
				t.Fatalf("starts at %d, now is %d", start, l.now)
			case late < 0 || late > pace.MissAfter:
				t.Fatalf("an arrival of %d starts at %d", due, l.now)
			case due < lastDue:
				t.Fatalf("an arrival of %d starts after one of %d", due, lastDue)
			case due >= int64(cfg.Warmup+cfg.Duration):
				t.Fatalf("an arrival of %d starts, the run ends at %v", due, cfg.Warmup+cfg.Duration)
			case len(l.freeSlots) == 0:
				t.Fatal("an arrival starts without a slot")
			}
			if late > pace.LateAfter && lastStart >= 0 {
				if d := l.now - lastStart; float64(d) < gap/2-1 {
					t.Fatalf("an arrival %v late starts %v after another, the mean gap is %v",
						time.Duration(late), time.Duration(d), time.Duration(gap))
				}
				// Over a row of late ones too: n of them take (n-1)/2 gaps.
				if lateRow++; float64(l.now-rowBegan) < float64(lateRow)*(gap/2-1) {
					t.Fatalf("%d late arrivals within %v", lateRow, time.Duration(l.now-rowBegan))
				}
			} else {
				lateRow, rowBegan = 0, l.now
			}
			lastDue, lastStart = due, l.now
			measured := l.measures(due)
			if measured != (due >= int64(cfg.Warmup)) {
				t.Fatalf("an arrival of %d is measured: %v, the warm-up lasts %v", due, measured, cfg.Warmup)
			}
			l.take(measured)
			if measured {
				attempted++
			}
			l.now += rapid.Int64Range(0, 20_000).Draw(t, "work")
		}
		if want := scheduled(cfg, id); attempted+l.arrivals.Missed != want {
			t.Fatalf("%d attempted + %d missed of %d scheduled", attempted, l.arrivals.Missed, want)
		}
	})
}

// After a stall of 600 ms the arrivals in arrear start at twice the rate; after one of
// three seconds two thirds of them are missed.
func TestAStallIsNotMadeUpForInABurst(t *testing.T) {
	for _, c := range []struct {
		stall  time.Duration
		missed uint64
		behind time.Duration // how long it takes to catch up
	}{
		{4 * time.Millisecond, 0, 0},
		{600 * time.Millisecond, 0, 595 * time.Millisecond},
		// The arrival that is due a second ago, exactly, still starts.
		{3 * time.Second, 2000, 995 * time.Millisecond},
	} {
		t.Run(fmt.Sprint(c.stall), func(t *testing.T) {
			const gap = int64(time.Millisecond)
			l := fakeLoop(loadgen.Config{Process: pace.Constant, Profile: pace.Steady(1000 * pace.PerSecond), Loops: 1, Connections: 1, Duration: time.Minute}, 0)
			l.now = int64(c.stall)
			caughtUp := int64(0)
			for l.arrivals.Due+pace.LateAfter < l.now {
				start, due := l.nextArrival()
				if start > l.now {
					if start != l.now+gap/2 {
						t.Fatalf("late by %v, the next starts after %v", time.Duration(l.now-due), time.Duration(start-l.now))
					}
					l.now = start
					continue
				}
				l.take(true)
				caughtUp = l.now
			}
			if l.arrivals.Missed != c.missed {
				t.Errorf("%d missed, want %d", l.arrivals.Missed, c.missed)
			}
			if took := time.Duration(max(0, caughtUp-int64(c.stall))); took < c.behind-20*time.Millisecond || took > c.behind+20*time.Millisecond {
				t.Errorf("caught up after %v, want %v", took, c.behind)
			}
		})
	}
}

// What is due before the end of a run, and has not started when the run gives up
// waiting, is missed: it must not vanish. Here a loop that was held up for 800 ms
// before the end has too little time to catch up.
func TestArrivalsLeftOverAreMissed(t *testing.T) {
	watchLeaks(t)
	cfg := loadgen.Config{
		Targets: to(serve(t, "127.0.0.1:0", echoes).addr), Sources: sources(t, "127.0.0.2-127.0.0.9"),
		Process: pace.Constant, Profile: pace.Steady(1000 * pace.PerSecond), Connections: 64, Loops: 1, Timeout: 10 * time.Millisecond,
		Lifecycle: loadgen.Lifecycle{ConnectOnly: true}, OnExhausted: loadgen.CountExhausted, Duration: time.Second,
	}
	l, events := manualLoop(t, cfg)
	// The run began 1.005 s ago, and the first 200 arrivals are done with.
	l.base = time.Now().Add(-cfg.Duration - cfg.Timeout/2)
	for range 200 {
		l.arrivals.Advance()
	}
	l.clock()
	liveOn(t, l, events)
	if tally := l.tally(); tally.Attempted+tally.Missed != 800 || tally.Balance() != nil {
		t.Errorf("%d attempted + %d missed of 800 scheduled", tally.Attempted, tally.Missed)
	}
}

// An open loop that is asked for more than any machine can start counts what it missed and ends
// near its time: of each turn the work is bounded, whatever the rate. The clock is the test's.
func TestARateOutOfReach(t *testing.T) {
	for _, process := range []pace.Process{pace.Constant, pace.Poisson} {
		for _, slots := range []int{0, 100} {
			cfg := loadgen.Config{Process: process, Profile: pace.Steady(pace.MaxRate), Loops: 1, Connections: slots, Warmup: 10 * time.Second, Duration: 10 * time.Second, Seed: 7}
			l := fakeLoop(cfg, 0)
			free, started, turns := l.freeSlots, uint64(0), 0
			for ; !l.done(); turns++ {
				start, due := l.nextArrival()
				if start == l.now {
					measured := l.measures(due)
					l.take(measured)
					if measured {
						started++
					}
				}
				l.freeSlots = free
				l.now += int64(time.Millisecond)
			}
			if l.now > int64(22600*time.Millisecond) {
				t.Errorf("%s, %d slots: ends at %v", process, slots, time.Duration(l.now))
			}
			if started == 0 && slots > 0 {
				t.Errorf("%s: nothing was measured", process)
			}
			if due := float64(started + l.arrivals.Missed); math.Abs(due-1e10) > 6*math.Sqrt(1e10) {
				t.Errorf("%s, %d slots: %d started and %d missed of about 1e10", process, slots, started, l.arrivals.Missed)
			}
		}
	}
}

// An arrival that becomes due while a turn has events to handle starts after the event under
// way, not after the last one. Here the clock jumps between the wait and the first event.
func TestArrivalsDoNotWaitForAllEvents(t *testing.T) {
	watchLeaks(t)
	const pending = 32
	l, _ := manualLoop(t, loadgen.Config{
		Targets: to(serve(t, "127.0.0.1:0", echoes).addr), Process: pace.Constant, Profile: pace.Steady(pace.PerSecond), Connections: 2 * pending, Timeout: patience,
		Duration: time.Minute, Lifecycle: loadgen.Lifecycle{Request: pinged, Response: exactly(4)}, OnExhausted: loadgen.CountExhausted,
	})
	for range pending {
		l.clock()
		l.arrive(l.now, true)
	}
	l.arrivals.Advance() // the first is due at once, the second after a second
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
	next := l.freeSlots[len(l.freeSlots)-1]
	l.base = l.base.Add(-time.Second)
	l.deal(n)
	e, _ := l.poller.Event(n - 1)
	if started, event := &l.conns[next], &l.conns[e.Slot]; started.began == 0 || started.began > event.mark {
		t.Errorf("the arrival started at %d, the last event was handled at %d", started.began, event.mark)
	}
}

// A closed loop is due whenever a slot is free, and since when it is.
func TestClosedArrivals(t *testing.T) {
	l := fakeLoop(loadgen.Config{Process: pace.Closed, Loops: 1, Connections: 2, Count: 3, Duration: time.Second, Warmup: time.Second}, 0)
	l.now = 500
	l.conns[1].due = 400
	if start, due := l.nextArrival(); start != 500 || due != 400 {
		t.Errorf("a free slot since 400 starts at %d, due %d", start, due)
	}
	if l.measures(700) || l.quota != 3 {
		t.Error("measured during the warm-up")
	}
	l.take(false)
	if l.quota != 3 {
		t.Error("the warm-up is counted against the bound")
	}
	l.gate.Shut(l.now)
	if start, _ := l.nextArrival(); start != l.gate.Until {
		t.Errorf("starts at %d, the gate is shut until %d", start, l.gate.Until)
	}
	l.gate.Open(l.now)
	free := l.freeSlots
	l.freeSlots = nil
	if start, _ := l.nextArrival(); start != pace.Never {
		t.Errorf("starts at %d without a slot", start)
	}
	l.freeSlots = free
	l.measuring = true
	for range 3 {
		if !l.measures(l.now) || l.done() {
			t.Error("done before the bound")
		}
		l.take(true)
	}
	if start, _ := l.nextArrival(); start != pace.Never || !l.done() {
		t.Errorf("starts at %d beyond the bound", start)
	}
	l.quota = 1
	l.now = int64(2 * time.Second)
	if start, _ := l.nextArrival(); start != pace.Never || !l.done() {
		t.Errorf("starts at %d, after the end", start)
	}
}

// An open loop with a bound takes no arrival beyond it, however many are due.
func TestOpenArrivalsStopAtTheBound(t *testing.T) {
	l := fakeLoop(loadgen.Config{Process: pace.Constant, Profile: pace.Steady(1000 * pace.PerSecond), Loops: 2, Connections: 2, Count: 5, Warmup: 10 * time.Millisecond}, 0)
	n := uint64(0)
	for !l.done() {
		start, due := l.nextArrival()
		l.now = max(l.now, start)
		if start == l.now {
			measured := l.measures(due)
			l.take(measured)
			if measured {
				n++
			}
		}
	}
	if n != 3 || l.arrivals.Missed != 0 {
		t.Errorf("%d attempts and %d missed, want 3 of 5 on the first of two loops", n, l.arrivals.Missed)
	}
}
