package sockets

import (
	"time"

	"tcpbench/metrics"
)

// recorder is the place of a histogram among those of a loop.
type recorder int

const (
	scheduleLag recorder = iota
	connectCall
	connectCallUpper
	connectTime
	connectUncorrected
	handshakeRTT
	exhausted
	helloTime
	firstByte
	exchangeTime
	heartbeat
	detect
	tcpRTT
	closeTime
	lifetime
	lifetimeUncorrected
	loopLag
	allRecorders
)

// recorded has the names of the histograms in a result.
var recorded = [allRecorders]string{
	metrics.ScheduleLag, metrics.ConnectCall, metrics.ConnectCallUpper, metrics.Connect, metrics.ConnectUncorrected,
	metrics.HandshakeRTT, metrics.Exhausted, metrics.HelloTime, metrics.FirstByte, metrics.ExchangeTime, metrics.Heartbeat,
	metrics.Detect, metrics.TCPRTT, metrics.CloseTime, metrics.Lifetime, metrics.LifetimeUncorrected, metrics.LoopLag,
}

// recorders are the histograms of one loop, which alone writes them until it ends.
type recorders [allRecorders]*metrics.Recorder

func newRecorders() (r recorders) {
	for i := range r {
		r[i] = metrics.NewRecorder()
	}
	r[handshakeRTT], r[tcpRTT] = metrics.NewCoarseRecorder(infoStep), metrics.NewCoarseRecorder(infoStep)
	return r
}

func (r *recorders) record(which recorder, ns int64) { r[which].Record(ns) }

// counts are what a loop counts by the second. Attempts count by when they were due or started; ends
// count since the measured time began, whenever the attempt began: attempts that began in the
// warm-up stand for those that end in the drain. Otherwise lives as long as the measured time would
// seem to be few.
type counts struct {
	attempted, succeeded, failed uint64
	calls                        metrics.Calls
}

const perInterval = int64(time.Second)

// interval is the second of the measured time that a loop is in.
type interval struct {
	index   int
	end     int64
	connect *metrics.Recorder
	before  counts // what the loop had counted when it began
}

// second is an interval of one loop that is over.
type second struct {
	metrics.Interval // all but the histogram
	connect          *metrics.Recorder
}

// window is the measured time of a loop: its edges, and what was counted in it.
type window struct {
	measureFrom      int64
	measuring, ended bool // it has begun, is over
	holding          bool // a population is held
	counts           counts
	interval         interval
	spares           chan *metrics.Recorder // for the next interval
	load             metrics.LoopReport
}

func newWindow(from int64) window {
	w := window{measureFrom: from, spares: make(chan *metrics.Recorder, 1)}
	w.interval = interval{end: from + perInterval, connect: metrics.NewRecorder()}
	w.spares <- metrics.NewRecorder()
	return w
}

// countEnd counts the end of an attempt at a time.
func (w *window) countEnd(o metrics.Outcome, now int64) {
	switch {
	case now < w.measureFrom, w.ended && !w.measuring:
	case o == metrics.Succeeded:
		w.counts.succeeded++
	default:
		w.counts.failed++
	}
}

// passMarks notices that the measured time begins, that it is over, and that a second is.
func (l *loop) passMarks() {
	if !l.measuring && !l.ended && l.now >= l.measureFrom {
		l.beginWindow()
	}
	if !l.holding && !l.ended && l.now >= l.holdFrom.Load() {
		l.holding = true
		l.report.Hold = metrics.HoldReport{Opened: l.established(), NS: -l.now, Beats: l.report.Beats}
		l.events <- loopEvent{kind: loopHolds, loop: l.id}
	}
	if l.now >= l.stopAt.Load() {
		l.endWindow()
		if !l.released {
			l.release()
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

// noteTurn notes how long the turn that is over has worked.
func (l *loop) noteTurn(took int64) {
	l.load.BusyNS += took
	l.load.Turns++
	if l.measuring {
		l.hist.record(loopLag, took)
	}
}

// beginWindow forgets what was counted in the warm-up.
func (l *loop) beginWindow() {
	l.measuring = true
	l.load, l.turn.woke = metrics.LoopReport{CPUNS: -threadCPU()}, l.now
	l.report.ExhaustedNS = -l.arrivals.Backoff.Total(l.now)
	if l.lacking != 0 {
		l.lacking = l.now
	}
	l.events <- loopEvent{kind: loopMeasures, loop: l.id}
}

// endWindow notes what was counted in the measured time.
func (l *loop) endWindow() {
	if l.ended {
		return
	}
	l.endLack(l.now)
	l.ended = true
	r, c := &l.report, &l.counts
	r.InTime, r.EndedInTime = c.succeeded, c.succeeded+c.failed
	r.ElapsedNS, r.Held = max(0, l.now-l.measureFrom), l.established()
	if l.measuring {
		r.ExhaustedNS += l.arrivals.Backoff.Total(l.now)
		l.load.CPUNS += threadCPU()
	} else {
		l.load = metrics.LoopReport{}
	}
	r.Loops = []metrics.LoopReport{l.load}
	if l.holding {
		r.Hold.NS += l.now
		r.Hold.Beats = r.Beats.Since(r.Hold.Beats)
	}
	l.events <- loopEvent{kind: loopDrains, loop: l.id}
}

// established counts the connections that are established now.
func (l *loop) established() (n uint64) {
	for slot := range l.conns {
		switch l.conns[slot].state {
		case sendingHello, readingHello, sending, receiving, idle:
			n++
		}
	}
	return n
}

// endInterval hands over the second that is over. A loop does not wait: a collector that is late
// gets it with the next one.
func (l *loop) endInterval() {
	select {
	case spare := <-l.spares:
		select {
		case l.events <- loopEvent{kind: loopInterval, loop: l.id, second: l.takeSecond(l.interval.end)}:
			l.interval.connect, l.interval.before = spare, l.counts
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
	c, before := &l.counts, &l.interval.before
	return second{connect: l.interval.connect, Interval: metrics.Interval{
		Index:     l.interval.index,
		EndNS:     end - l.measureFrom,
		Attempted: c.attempted - before.attempted,
		Succeeded: c.succeeded - before.succeeded,
		Failed:    c.failed - before.failed,
		InFlight:  l.inFlight(),
		Calls:     c.calls.Since(before.calls),
	}}
}

// result completes the report of a loop that has ended.
func (l *loop) result() metrics.ClientReport {
	l.report.Tally = metrics.Tally{
		Attempted: l.counts.attempted,
		Succeeded: l.ends.Succeeded(),
		Failed:    l.ends.Failed(),
		Open:      l.leftOpen(),
		Missed:    l.arrivals.Missed,

		CheckedBytes: l.replies.content.checked,
	}
	return l.report
}

// leftOpen counts what was abandoned, slot by slot: not by subtraction, so that the balance of the
// counts is a check and not a tautology.
func (l *loop) leftOpen() (n uint64) {
	for slot := range l.conns {
		if c := &l.conns[slot]; c.state != free && c.measured {
			n++
		}
	}
	return n
}
