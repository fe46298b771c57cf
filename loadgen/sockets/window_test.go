package sockets

import (
	"testing"
	"time"

	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
)

// asIf makes the loop believe that the measured time begins now.
func asIf(t testing.TB, l *loop) {
	t.Helper()
	l.measureFrom = l.clock()
	l.interval.end = l.measureFrom + perInterval
	l.passMarks()
	if !l.measuring {
		t.Fatal("the measured time has not begun")
	}
}

// Lives that fill the measured time: those that began in the warm-up end in it, and those that
// begin in it end in the drain. As many ended in it as were in flight, and that is the rate.
func TestLongLivesAreCountedOnBothEdges(t *testing.T) {
	const inFlight = 4
	release := make(chan struct{})
	h := serve(t, "127.0.0.1:0", after(len(pinged), func(c *tcp) error {
		<-release
		return says(pong, closes)(c)
	}))
	let := func(l *loop, yes func() bool) {
		t.Helper()
		for range inFlight {
			release <- struct{}{}
		}
		turns(t, l, yes)
	}
	l, events := manualLoop(t, loadgen.Config{
		Targets: to(h.addr), Process: pace.Closed, Connections: inFlight, Warmup: time.Hour, Duration: time.Hour, Timeout: patience,
		Lifecycle: loadgen.Lifecycle{Request: pinged, Response: isPong, CloseBy: wire.Client, CloseHow: wire.RST}, OnExhausted: loadgen.CountExhausted,
	})
	turns(t, l, func() bool { return l.established == inFlight })
	let(l, func() bool { return l.established == 2*inFlight }) // the first ended in the warm-up
	asIf(t, l)
	let(l, func() bool { return l.established == 3*inFlight })
	l.stop("enough")
	l.clock()
	l.passMarks()
	let(l, l.over)
	l.events <- loopEvent{kind: loopDone, second: l.lastSecond()}
	if l.attempted != inFlight || l.ends.Succeeded() != inFlight {
		t.Errorf("%d attempted, %d of them succeeded, want %d", l.attempted, l.ends.Succeeded(), inFlight)
	}
	c := collectorOf(l.run, loadgen.Observer{})
	report, err := c.report()
	if err != nil {
		t.Fatal(err)
	}
	if report.InTime != inFlight || report.EndedInTime != inFlight {
		t.Errorf("%d ended in the measured time, %d of them well, want %d", report.EndedInTime, report.InTime, inFlight)
	}
	var rows uint64
	for len(events) > 0 {
		rows += (<-events).second.Succeeded
	}
	if rows != 2*inFlight {
		t.Errorf("the seconds have %d ends, want %d: of the measured time and of the drain", rows, 2*inFlight)
	}
}

// What was out of ports in the warm-up, and is again in the drain, is not of the measured time.
func TestExhaustionIsOfTheMeasuredTime(t *testing.T) {
	l, _ := manualLoop(t, loadgen.Config{
		Targets: to(serve(t, "127.0.0.1:0", closes).addr), Process: pace.Closed, Connections: 1, Warmup: time.Hour, Duration: time.Hour, Timeout: patience,
		Lifecycle: loadgen.Lifecycle{ConnectOnly: true}, OnExhausted: loadgen.CountExhausted,
	})
	lack := func() {
		l.tried = &l.spaces[0]
		l.gate.Shut(l.clock())
		l.noteExhaustion()
	}
	find := func() {
		l.gate.Open(l.clock())
		l.endSpell(l.now)
	}
	lack()
	find() // a spell of the warm-up
	lack()
	began := l.clock()
	asIf(t, l)
	find()
	lack()
	l.stop("enough")
	l.clock()
	l.passMarks()
	ended := l.now
	find()
	lack()
	find()
	report, err := collectorOf(l.run, loadgen.Observer{}).report()
	if err != nil {
		t.Fatal(err)
	}
	spells := report.Histograms["exhausted"]
	if spells.Count != 2 || report.ExhaustedNS <= 0 || report.ExhaustedNS > ended-began || spells.Max > ended-began {
		t.Errorf("%d spells of up to %d ns, shut for %d ns, in %d ns", spells.Count, spells.Max, report.ExhaustedNS, ended-began)
	}
}
