package sockets

import (
	"time"

	"tcpbench/metrics"
)

// recorders are the histograms of one loop. The loop alone writes them until it ends.
type recorders struct {
	connectCall, connect, connectUncorrected *metrics.Recorder
	handshakeRTT, firstByte, exchange        *metrics.Recorder
	closeTime, lifetime, lifetimeUncorrected *metrics.Recorder
	scheduleLag, loopLag                     *metrics.Recorder
	heartbeat, detect                        *metrics.Recorder
	connectCallUpper, tcpRTT, exhausted      *metrics.Recorder
	hello                                    *metrics.Recorder
}

func newRecorders() recorders {
	return recorders{
		connectCall: metrics.NewRecorder(), connect: metrics.NewRecorder(),
		connectUncorrected: metrics.NewRecorder(), handshakeRTT: metrics.NewCoarseRecorder(infoStep),
		firstByte: metrics.NewRecorder(), exchange: metrics.NewRecorder(),
		closeTime: metrics.NewRecorder(), lifetime: metrics.NewRecorder(),
		lifetimeUncorrected: metrics.NewRecorder(), scheduleLag: metrics.NewRecorder(),
		loopLag: metrics.NewRecorder(), heartbeat: metrics.NewRecorder(), detect: metrics.NewRecorder(),
		connectCallUpper: metrics.NewRecorder(), tcpRTT: metrics.NewCoarseRecorder(infoStep), exhausted: metrics.NewRecorder(),
		hello: metrics.NewRecorder(),
	}
}

// named returns the recorders under the names that they have in a result.
func (r *recorders) named() map[string]*metrics.Recorder {
	return map[string]*metrics.Recorder{
		metrics.ConnectCall:         r.connectCall,
		metrics.Connect:             r.connect,
		metrics.ConnectUncorrected:  r.connectUncorrected,
		metrics.HandshakeRTT:        r.handshakeRTT,
		metrics.FirstByte:           r.firstByte,
		metrics.ExchangeTime:        r.exchange,
		metrics.CloseTime:           r.closeTime,
		metrics.Lifetime:            r.lifetime,
		metrics.LifetimeUncorrected: r.lifetimeUncorrected,
		metrics.ScheduleLag:         r.scheduleLag,
		metrics.LoopLag:             r.loopLag,
		metrics.Heartbeat:           r.heartbeat,
		metrics.Detect:              r.detect,
		metrics.ConnectCallUpper:    r.connectCallUpper,
		metrics.TCPRTT:              r.tcpRTT,
		metrics.Exhausted:           r.exhausted,
		metrics.HelloTime:           r.hello,
	}
}

const perInterval = int64(time.Second)

// interval is the second that a loop is in.
type interval struct {
	index     int
	end       int64
	connect   *metrics.Recorder
	attempted uint64 // when it began, as what follows
	flow      flow
	calls     metrics.Calls
}

// flow counts the attempts that have ended since the measured time began, whenever they
// began themselves. Those that began in the warm-up stand for those that end in the drain:
// without them lives as long as the measured time would seem to be few.
type flow struct{ succeeded, failed uint64 }

// passes counts the end of an attempt.
func (l *loop) passes(o metrics.Outcome) {
	switch {
	case l.now < l.measureFrom, l.ended && !l.measuring:
	case o == metrics.Succeeded:
		l.flow.succeeded++
	default:
		l.flow.failed++
	}
}

// second is an interval of one loop that is over.
type second struct {
	metrics.Interval // all but the histogram
	connect          *metrics.Recorder
}

// window is what a loop had counted when the measured time was over.
type window struct {
	at   int64 // since the start of the measured time
	flow flow
	held uint64 // established then
	shut int64  // time for which arrivals were held back
	hold metrics.HoldReport
	loop metrics.LoopReport
}

// passMarks notices that the measured time begins, that it is over, and that a second is.
func (l *loop) passMarks() {
	if !l.measuring && !l.ended && l.now >= l.measureFrom {
		l.beginWindow()
		l.events <- loopEvent{kind: loopMeasures, loop: l.id}
	}
	if !l.holding && !l.ended && l.now >= l.holdFrom.Load() {
		l.holding = true
		l.window.hold = metrics.HoldReport{Opened: l.held(), NS: -l.now, Beats: l.beats}
		l.events <- loopEvent{kind: loopKeeps, loop: l.id}
	}
	if l.now >= l.stopAt.Load() {
		l.endWindow()
		if !l.dismissed {
			l.dismiss()
		}
	}
	l.endIntervals()
}

// endIntervals hands over the seconds that are over.
func (l *loop) endIntervals() {
	for l.measuring && l.now >= l.interval.end {
		l.endInterval()
	}
}

// nextMark is the time at which passMarks or over has something to notice.
func (l *loop) nextMark() int64 {
	mark := l.abandonAt.Load()
	if !l.ended {
		mark = min(mark, l.stopAt.Load())
	}
	switch {
	case l.measuring:
		return min(mark, l.interval.end)
	case l.ended: // in the warm-up: there is nothing to measure
		return mark
	}
	return min(mark, l.measureFrom)
}

// beginWindow forgets what the warm-up came to.
func (l *loop) beginWindow() {
	l.measuring = true
	l.cpu, l.busy, l.turns, l.woke = threadCPU(), 0, 0, l.now
	l.window.shut = -l.gate.ShutFor(l.now)
	if l.spell != 0 {
		l.spell = l.now
	}
}

// endWindow notes what the measured time came to.
func (l *loop) endWindow() {
	if l.ended {
		return
	}
	l.endSpell(l.now)
	l.ended = true
	l.window.at, l.window.flow, l.window.held = max(0, l.now-l.measureFrom), l.flow, l.held()
	if l.measuring {
		l.window.shut += l.gate.ShutFor(l.now)
		l.window.loop = metrics.LoopReport{BusyNS: l.busy, CPUNS: threadCPU() - l.cpu, Turns: l.turns}
	}
	if h := &l.window.hold; l.holding {
		h.NS += l.now
		h.Beats = l.beats.Since(h.Beats)
	}
	l.events <- loopEvent{kind: loopDrains, loop: l.id}
}

// held counts the connections that are established.
func (l *loop) held() (n uint64) {
	for slot := range l.conns {
		switch l.conns[slot].state {
		case hailing, hearing, sending, receiving, resting:
			n++
		}
	}
	return n
}

// endInterval hands over the second that is over. A collector that is behind gets it
// with the next one instead: a loop does not wait.
func (l *loop) endInterval() {
	select {
	case spare := <-l.spares:
		s := l.takeSecond(l.interval.end)
		select {
		case l.events <- loopEvent{kind: loopInterval, loop: l.id, second: s}:
			l.interval.connect, l.interval.attempted = spare, l.attempted
			l.interval.flow, l.interval.calls = l.flow, l.calls
		default:
			l.spares <- spare
		}
	default:
	}
	l.interval.index++
	l.interval.end += perInterval
}

// lastSecond is the part of a second that was under way when the loop ended. A second that was
// over by then is handed over first: another loop may have one more.
func (l *loop) lastSecond() second {
	l.endIntervals()
	return l.takeSecond(max(l.now, l.measureFrom))
}

func (l *loop) takeSecond(end int64) second {
	return second{connect: l.interval.connect, Interval: metrics.Interval{
		Index:     l.interval.index,
		EndNS:     end - l.measureFrom,
		Attempted: l.attempted - l.interval.attempted,
		Succeeded: l.flow.succeeded - l.interval.flow.succeeded,
		Failed:    l.flow.failed - l.interval.flow.failed,
		InFlight:  l.inFlight(),
		Calls:     l.calls.Since(l.interval.calls),
	}}
}

// tally is asked once the loop has ended.
func (l *loop) tally() metrics.Tally {
	return metrics.Tally{
		Attempted: l.attempted,
		Succeeded: l.ends.Succeeded(),
		Failed:    l.ends.Failed(),
		Open:      l.openAtEnd(),
		Missed:    l.arrivals.Missed,

		CheckedBytes: l.content.checked,
	}
}

// openAtEnd counts what was abandoned, slot by slot: not by subtraction, so that the
// balance of the counts is a check and not a tautology.
func (l *loop) openAtEnd() (n uint64) {
	for slot := range l.conns {
		if c := &l.conns[slot]; c.state != free && c.measured {
			n++
		}
	}
	return n
}
