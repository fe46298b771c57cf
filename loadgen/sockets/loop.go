package sockets

import (
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/internal/epoll"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
	"tcpbench/metrics"
)

const (
	// startsPerTurn, eventsPerTurn and expiriesPerTurn bound a turn, so that neither arrivals nor
	// events wait long for the other.
	startsPerTurn   = 16
	eventsPerTurn   = 64
	expiriesPerTurn = 64
	// usualWakeEarly is taken off a sleep that ends with an arrival: epoll_pwait2 with a
	// timer slack of 1 ns comes back 34–40 µs late. The rest is spent polling.
	usualWakeEarly = int64(30 * time.Microsecond)
	readSize       = 64 << 10
	// readsPerEvent bounds what one connection takes of a turn, in reads of readSize: a server
	// that never stops sending must not keep the loop from the others.
	readsPerEvent = 4
)

// loop is one thread of the client. It shares nothing but what run holds.
type loop struct {
	*run
	id     int
	now    int64 // the clock, as last read
	poller *epoll.Poller
	wheel  *epoll.Wheel // deadlines, by slot
	buffer []byte
	turn   turn
	slab

	arrivals  pace.Arrivals
	parked    []epoll.Token // attempts that wait for a four-tuple, oldest first
	tuples    tuples
	script    script
	replies   replies
	gaps      pace.Gaps
	beats     pace.Beats
	exchanges pace.Limiter // bounds those after the first
	closes    pace.Limiter
	populated uint64 // connections of a population that had their first exchange
	released  bool   // connections that stayed to the end may close

	window
	evidence
	hist   recorders
	ends   metrics.Ends
	report metrics.ClientReport // all but tally and histograms
}

// turn is the round of a loop that is under way.
type turn struct {
	woke   int64 // when it began
	worked bool  // it started or handled something
	early  int64 // how much to wake before an arrival
	starts int   // arrivals that one turn may start
}

func newLoop(r *run, id int, tuples tuples) (*loop, error) {
	poller, err := epoll.NewPoller(eventsPerTurn)
	if err != nil {
		return nil, err
	}
	place, places, life := r.Place(id), r.Places(), &r.Lifecycle
	slots := pace.Share(uint64(r.Connections), place, places)
	l := &loop{
		run: r, id: id, poller: poller, buffer: make([]byte, readSize),
		wheel: epoll.NewWheel(int(slots), 0),
		turn:  turn{starts: startsPerTurn},
		slab:  newSlab(slots),

		arrivals:  pace.NewArrivals(r.Plan(id, slots)),
		tuples:    tuples,
		script:    newScript(r, place, slots),
		gaps:      pace.NewGaps(life.Gap, life.Jitter, r.Seed, place),
		exchanges: pace.NewLimiter(r.ExchangeRate, places),
		closes:    pace.NewLimiter(r.CloseRate, places),

		window:   newWindow(int64(r.Warmup)),
		evidence: newEvidence(r.Seed, place),
		hist:     newRecorders(),
	}
	l.replies = newReplies(life, &l.script, slots)
	if life.Beat != nil {
		l.beats = pace.NewBeats(life.Beat.Every, life.Beat.Aligned, r.Seed, place)
	}
	if places <= runtime.NumCPU() { // else polling would take the processor from another loop
		l.turn.early = usualWakeEarly
	}
	if r.Process == pace.Bursts { // one instant is one turn, whatever waits for the loop
		l.turn.starts = int(pace.Share(uint64(r.Burst), place, places))
	}
	return l, nil
}

// clock reads the time and moves the loop's own.
func (l *loop) clock() int64 {
	l.now = l.run.now()
	return l.now
}

// live is the life of the loop's thread. The thread is never unlocked, so it ends with
// the loop, and so does the timer slack that was set for it.
func (l *loop) live() {
	runtime.LockOSThread()
	// Without it epoll_pwait2 comes back 80 µs late; if the kernel refuses it, accept that.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	var err error
	for err == nil && !l.over() {
		err = l.round()
	}
	l.arrivals.LeaveRest(l.now, l.stopAt.Load())
	l.abandon()
	l.endWindow()
	l.events <- loopEvent{kind: loopDone, loop: l.id, second: l.lastSecond(), err: err}
}

// over tells whether there is nothing left to start and nothing left to wait for.
func (l *loop) over() bool {
	return l.arrivals.Done(l.now, l.stopAt.Load()) && l.inFlight() == 0 || l.now >= l.abandonAt.Load()
}

// round is one turn: start what is due, wait for the next thing, handle what came.
func (l *loop) round() error {
	wake := l.begin()
	if l.over() { // the last attempts failed at once: there is nothing to wait for
		return nil
	}
	events, err := l.wait(wake)
	if err == nil {
		l.deal(events)
	}
	return err
}

// begin starts what is due, and returns when there is more to do if no event comes before.
func (l *loop) begin() (wake int64) {
	l.passMarks()
	next := l.startDue()
	wake = min(next-l.turn.early, l.wheel.Next(), l.nextMark())
	if l.clock(); len(l.unread) > 0 {
		wake = l.now
	}
	return wake
}

// wait waits for events until a time, and returns their number.
func (l *loop) wait(wake int64) (events int, err error) {
	if l.turn.worked {
		l.noteTurn(l.now - l.turn.woke)
	}
	if events, err = l.poller.Wait(time.Duration(wake - l.now)); err != nil {
		return 0, err
	}
	l.turn.woke, l.turn.worked = l.clock(), events > 0
	return events, nil
}

// deal handles the events that came, and the deadlines that have passed.
func (l *loop) deal(events int) {
	for i := range events {
		if e, ok := l.poller.Event(i); ok {
			l.handle(e)
			l.startOverdue()
		}
	}
	l.readOn()
	l.wheel.Advance(l.clock())
	for range expiriesPerTurn {
		slot, due, ok := l.wheel.Pop()
		if !ok {
			break
		}
		l.turn.worked = true
		l.expire(slot, due)
		l.startOverdue()
	}
}

// readLater lets a connection read on in the next turn: no edge tells of what is there already.
func (l *loop) readLater(slot int32) {
	if !l.listed[slot] {
		l.listed[slot] = true
		l.unread = append(l.unread, l.token(slot))
	}
}

// readOn gives connections that may have more to read their turn. Whatever state they are in by
// now, an event that announces data or a FIN makes them look, and does no harm.
func (l *loop) readOn() {
	n := min(len(l.unread), eventsPerTurn)
	for _, token := range l.unread[:n] {
		l.listed[token.Slot] = false
		l.turn.worked = true
		l.handle(epoll.Event{Mask: epoll.In | epoll.RDHup, Token: token})
		l.startOverdue()
	}
	l.unread = slices.Delete(l.unread, 0, n)
}

// startOverdue starts an arrival of a rate that has become due in the middle of a turn, because the
// events of a turn take up to milliseconds. It starts only one, so that the events go on.
func (l *loop) startOverdue() {
	if l.arrivals.Overdue(l.now) {
		l.startNext()
	}
}

// startDue starts what is due, within bounds, and returns when the next arrival can start.
func (l *loop) startDue() int64 {
	next := l.startParked()
	for range l.turn.starts {
		if start := l.startNext(); start > l.now {
			return min(next, start)
		}
	}
	return l.now
}

// startNext starts the next arrival if it is time, and else returns when that will be.
func (l *loop) startNext() int64 {
	start, due := l.arrivals.Next(l.now, l.stopAt.Load(), l.freeSince())
	if start <= l.now {
		l.turn.worked = true
		l.arrive(due, l.arrivals.Take(l.now))
	}
	return start
}

// startParked tries the oldest attempts that wait for a four-tuple, and returns when to try the
// next. One success lets the others try, too.
func (l *loop) startParked() int64 {
	for range startsPerTurn {
		switch {
		case len(l.parked) == 0:
			return pace.Never
		case l.arrivals.Backoff.Blocks(l.now):
			return l.arrivals.Backoff.Until
		}
		oldest := l.parked[0]
		if l.token(oldest.Slot) == oldest { // else it timed out
			l.turn.worked = true
			l.dial(oldest.Slot)
			if l.token(oldest.Slot) == oldest && l.conns[oldest.Slot].state == parked {
				continue // it stays the first
			}
		}
		l.parked = l.parked[1:]
	}
	return l.now
}

// release lets the connections that stayed for the measured time close, as fast as they may.
func (l *loop) release() {
	if !l.Lifecycle.StayToEnd && l.Lifecycle.Beat == nil {
		return
	}
	l.released = true
	for slot := range l.conns {
		// The others learn when their answer is here.
		c := &l.conns[slot]
		listens := c.state == receiving && c.pending == 0 && l.Lifecycle.Beats(loadgen.ServerPings)
		if c.state == idle || listens {
			c.leaving = true
			l.enterUntil(int32(slot), idle, l.closes.At(l.now))
		}
	}
}

// abandon closes what is still open at the end of a run. It stays counted as open.
func (l *loop) abandon() {
	for slot := range l.conns {
		if c := &l.conns[slot]; c.state != free && c.fd >= 0 {
			closeSocket(int(c.fd))
		}
	}
}
