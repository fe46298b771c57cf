package sockets

import (
	"fmt"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/metrics"
)

// fakeRun has loops that only take back the recorders of their seconds.
func fakeRun(loops int) *run {
	r := &run{events: make(chan loopEvent, 64)}
	for range loops {
		l := &loop{run: r, window: newWindow(0)}
		<-l.spares // it is in a second, whose recorder comes back
		r.loops = append(r.loops, l)
	}
	return r
}

// aSecond is one second of one loop, with one connect of each duration.
func aSecond(index int, attempted, succeeded, failed uint64, connects ...int64) second {
	s := second{connect: metrics.NewRecorder(), Interval: metrics.Interval{
		Index: index, EndNS: int64(index+1) * perInterval, Attempted: attempted, Succeeded: succeeded, Failed: failed,
	}}
	for _, ns := range connects {
		s.connect.Record(ns)
	}
	return s
}

// In whatever order the loops' seconds arrive, and whichever were skipped because the collector was
// late: they are handed out in order, each once, and add up to the totals.
func TestCollectorLosesNoSecond(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		loops := rapid.IntRange(1, 3).Draw(t, "loops")
		queues := make([][]loopEvent, loops)
		var want metrics.Interval
		counts := rapid.Uint64Range(0, 2)
		for i := range queues {
			n := rapid.IntRange(0, 4).Draw(t, "seconds")
			for index := range n + 1 {
				e := loopEvent{kind: loopInterval, loop: i}
				if index == n {
					e.kind = loopDone
				} else if rapid.IntRange(0, 3).Draw(t, "skip") == 0 {
					continue
				}
				e.second = aSecond(index, counts.Draw(t, "attempted"), counts.Draw(t, "succeeded"), counts.Draw(t, "failed"))
				// Also in a second in which nothing began or ended.
				for range counts.Draw(t, "connects") {
					e.second.connect.Record(1000)
				}
				want.Attempted += e.second.Attempted
				want.Succeeded += e.second.Succeeded
				want.Failed += e.second.Failed
				want.Connect.Count += e.second.connect.Count()
				queues[i] = append(queues[i], e)
			}
		}
		var got metrics.Interval
		got.Index = -1
		r := fakeRun(loops)
		c := newCollector(r, loadgen.Observer{Interval: func(i metrics.Interval) {
			if i.Index <= got.Index {
				t.Fatalf("interval %d after %d", i.Index, got.Index)
			}
			got.Index = i.Index
			got.Attempted += i.Attempted
			got.Succeeded += i.Succeeded
			got.Failed += i.Failed
			got.Connect.Count += i.Connect.Count
		}})
		for left := loops; left > 0; {
			i := rapid.IntRange(0, loops-1).Draw(t, "from")
			if len(queues[i]) == 0 {
				continue
			}
			e := queues[i][0]
			queues[i] = queues[i][1:]
			if err := c.take(e); err != nil {
				t.Fatal(err)
			}
			if e.kind == loopDone {
				left--
				continue
			}
			if spare := <-r.loops[i].spares; spare.Count() != 0 {
				t.Fatal("a recorder comes back with values")
			}
		}
		want.Index = got.Index
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("handed out %+v, told of %+v", got, want)
		}
		if left, ok := c.seconds.Take(); ok {
			t.Fatalf("seconds left over: %v", left)
		}
	})
}

// A connection can be established in a second in which none began or ended: if its first SYN was
// dropped, and the run is interrupted before the response.
func TestLastSecondWithNothingButAConnect(t *testing.T) {
	r := fakeRun(1)
	var connects int64
	c := newCollector(r, loadgen.Observer{Interval: func(i metrics.Interval) { connects += i.Connect.Count }})
	for _, e := range []loopEvent{
		{kind: loopInterval, second: aSecond(0, 1, 0, 0)},
		{kind: loopDone, second: aSecond(1, 0, 0, 0, 1e9)},
	} {
		if err := c.take(e); err != nil {
			t.Fatal(err)
		}
	}
	if connects != 1 {
		t.Errorf("intervals hold %d connects, want 1", connects)
	}
}

// A last second in which nothing happened is no interval.
func TestEmptyLastSecondIsNotARow(t *testing.T) {
	var rows int
	c := newCollector(fakeRun(1), loadgen.Observer{Interval: func(metrics.Interval) { rows++ }})
	for _, e := range []loopEvent{
		{kind: loopInterval, second: aSecond(0, 0, 0, 0)}, // a second of silence is one
		{kind: loopDone, second: aSecond(1, 0, 0, 0)},
	} {
		if err := c.take(e); err != nil {
			t.Fatal(err)
		}
	}
	if rows != 1 {
		t.Errorf("%d rows, want 1", rows)
	}
}

// If the collector is late, a loop does not wait: it hands its second over with the next one.
func TestALoopDoesNotWaitForTheCollector(t *testing.T) {
	r := &run{events: make(chan loopEvent, 1)}
	l := &loop{run: r, window: newWindow(0)}
	l.measuring = true
	var events []loopEvent
	took := 0
	for i := range 10 {
		l.counts.attempted++
		l.counts.succeeded++
		l.interval.connect.Record(5)
		l.now = l.interval.end
		l.endInterval()
		if i%3 == 2 { // the collector is slow
			e := <-r.events
			events = append(events, e)
			took += int(e.second.connect.Count())
			e.second.connect.Reset()
			l.spares <- e.second.connect
		}
	}
	if len(r.events) > 0 {
		e := <-r.events
		events = append(events, e)
		took += int(e.second.connect.Count())
	}
	events = append(events, loopEvent{second: l.lastSecond()})
	took += int(l.interval.connect.Count())
	var sum metrics.Interval
	for _, e := range events {
		sum.Attempted += e.second.Attempted
		sum.Succeeded += e.second.Succeeded
	}
	if sum.Attempted != 10 || sum.Succeeded != 10 || took != 10 || len(events) < 4 {
		t.Errorf("%d events hold %d attempted, %d succeeded, %d connects", len(events), sum.Attempted, sum.Succeeded, took)
	}
}

// A loop that ends just after a second is over hands that second over before its last one, so that
// seconds end in order when they are merged with those of other loops.
func TestTheLastSecondBeginsWhereTheOneBeforeEnded(t *testing.T) {
	l, events := manualLoop(t, loadgen.Config{
		Targets: to(netip.MustParseAddrPort("127.0.0.1:9")), Connections: 1, Count: 1,
		Lifecycle: echo(1, wire.Client, wire.FIN),
	})
	l.passMarks() // the measured time has begun
	l.now = l.measureFrom + perInterval + 5
	last := l.lastSecond()
	if last.Index != 1 || last.EndNS != perInterval+5 {
		t.Errorf("the last is number %d and ends at %d", last.Index, last.EndNS)
	}
	<-events // it measures
	select {
	case e := <-events:
		if e.kind != loopInterval || e.second.Index != 0 || e.second.EndNS != perInterval {
			t.Errorf("handed over %+v", e.second.Interval)
		}
	default:
		t.Error("the second that is over was not handed over")
	}
}
