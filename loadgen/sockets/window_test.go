package sockets

import (
	"testing"
	"time"

	"tcpbench/internal/wire"
	"tcpbench/loadgen"
)

// warmUp is the warm-up of the tests below. No timeout passes meanwhile.
const warmUp = time.Hour

// skipWarmUp moves the clock to the end of the warm-up.
func skipWarmUp(t testing.TB, l *loop) {
	t.Helper()
	l.base = time.Now().Add(-warmUp)
	l.clock()
	if l.passMarks(); !l.measuring {
		t.Fatal("the measured time has not begun")
	}
}

// Connections that live as long as the measured time: those that began in the warm-up end in it, and
// those that begin in it end in the drain. As many ended in it as were in flight, which is the rate.
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
		Targets: to(h.addr), Connections: inFlight, Warmup: warmUp, Duration: time.Hour, Timeout: 3 * warmUp,
		Lifecycle: loadgen.Lifecycle{Request: pinged, Response: isPong, CloseBy: wire.Client, CloseHow: wire.RST},
	})
	turns(t, l, func() bool { return l.report.Established == inFlight })
	let(l, func() bool { return l.report.Established == 2*inFlight }) // the first ended in the warm-up
	skipWarmUp(t, l)
	let(l, func() bool { return l.report.Established == 3*inFlight })
	l.stop("enough")
	l.clock()
	l.passMarks()
	let(l, l.over)
	l.events <- loopEvent{kind: loopDone, second: l.lastSecond()}
	if l.counts.attempted != inFlight || l.ends.Succeeded() != inFlight {
		t.Errorf("%d attempted, %d of them succeeded, want %d", l.counts.attempted, l.ends.Succeeded(), inFlight)
	}
	c := newCollector(l.run, loadgen.Observer{})
	if err := c.addUp(); err != nil {
		t.Fatal(err)
	}
	if c.report.InTime != inFlight || c.report.EndedInTime != inFlight {
		t.Errorf("%d ended in the measured time, %d of them well, want %d", c.report.EndedInTime, c.report.InTime, inFlight)
	}
	var rows uint64
	for len(events) > 0 {
		rows += (<-events).second.Succeeded
	}
	if rows != 2*inFlight {
		t.Errorf("the seconds have %d ends, want %d: of the measured time and of the drain", rows, 2*inFlight)
	}
}

// A lack of ports in the warm-up or in the drain does not count in the measured time.
func TestExhaustionIsOfTheMeasuredTime(t *testing.T) {
	l, _ := manualLoop(t, loadgen.Config{
		Targets: to(serve(t, "127.0.0.1:0", closes).addr), Connections: 1, Warmup: warmUp, Duration: time.Hour, Timeout: 3 * warmUp,
		Lifecycle: loadgen.Lifecycle{ConnectOnly: true},
	})
	lack := func() {
		l.tried = &l.tuples.spaces[0]
		l.arrivals.Backoff.Fail(l.clock())
		l.lack()
	}
	find := func() {
		l.arrivals.Backoff.Succeed(l.clock())
		l.endLack(l.now)
	}
	lack()
	find() // a spell of the warm-up
	lack()
	skipWarmUp(t, l)
	began := l.measureFrom
	find()
	lack()
	l.stop("enough")
	l.clock()
	l.passMarks()
	ended := l.now
	find()
	lack()
	find()
	c := newCollector(l.run, loadgen.Observer{})
	if err := c.addUp(); err != nil {
		t.Fatal(err)
	}
	spells := c.report.Histograms["exhausted"]
	if spells.Count != 2 || c.report.ExhaustedNS <= 0 || c.report.ExhaustedNS > ended-began || spells.Max > ended-began {
		t.Errorf("%d spells of up to %d ns, shut for %d ns, in %d ns", spells.Count, spells.Max, c.report.ExhaustedNS, ended-began)
	}
}
