package sockets

import (
	"bytes"
	"math/rand/v2"
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
	// startsPerTurn and eventsPerTurn bound a turn, so that neither arrivals nor events
	// wait long for the other.
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

// loop is one thread of the client. Nothing in it is shared but what run holds.
type loop struct {
	*run
	id     int
	poller *epoll.Poller
	wheel  *epoll.Wheel
	conns  []conn
	// freeSlots is a stack; a slot used again soon is still in the cache.
	freeSlots   []int32
	queue       []epoll.Token // attempts that wait for a four-tuple, oldest first
	unread      []epoll.Token // connections that have, or may have, more to read
	listed      []bool        // by slot: it is in unread
	spaces      []space
	space       int
	arrivals    pace.Arrivals
	gate        pace.Gate
	open        bool
	request     []byte // the first one, or all of a pipeline
	exchanges   uint32
	perSend     uint16 // requests in one request's bytes
	until       ending
	hello       ending    // of the answer to the hello
	rotation    *rotation // nil where requests are all the same
	ear         ear
	content     content
	seen        [][]byte     // by slot, the answer so far that Until.Match has to look at
	matchStates []matchState // by slot, how far it has looked
	buffer      []byte
	random      *rand.Rand // of the gaps
	phases      uint64     // where the stream of the beats' phases begins

	settings4, settings6 []setting
	congestion           []byte
	protocol             int

	openLimit, exchangeLimit, closeLimit pace.Limiter
	startsPerTurn                        int
	settled                              uint64 // connections that had their first exchange
	dismissed                            bool   // what was kept may go
	selfPossible                         bool   // a connection could meet itself
	refusable                            bool   // the server may say why it refuses
	beats                                metrics.Beats
	bursts                               []metrics.Burst

	now    int64  // the clock, as last read
	slept  int64  // when the loop last began to wait
	woke   int64  // when the present turn began
	worked bool   // the present turn started or handled something
	early  int64  // how much to wake before an arrival
	quota  uint64 // measured attempts still to start; never without a bound
	busy   int64  // time of turns that worked, since the measured time began
	turns  uint64
	cpu    int64 // of the thread, when the measured time began
	tried  *space
	evidence

	attempted   uint64
	ends        metrics.Ends
	flow        flow
	syns        uint64
	established uint64

	measureFrom      int64
	measuring, ended bool // the measured time has begun, is over
	holding          bool // a held population has begun to be kept
	window           window
	hist             recorders
	interval         interval
	spares           chan *metrics.Recorder
}

func newLoop(r *run, id int, own []space) (*loop, error) {
	poller, err := epoll.NewPoller(eventsPerTurn)
	if err != nil {
		return nil, err
	}
	slots := pace.Share(uint64(r.Connections), r.Place(id), r.Places())
	l := &loop{
		run: r, id: id, poller: poller,
		wheel:     epoll.NewWheel(int(slots), 0),
		conns:     make([]conn, slots),
		freeSlots: make([]int32, 0, slots),
		listed:    make([]bool, slots),
		spaces:    own,
		open:      r.Process != pace.Closed && r.Process != pace.Hold,
		request:   r.Lifecycle.Request,
		exchanges: max(1, r.Lifecycle.Exchanges),
		perSend:   1,
		until:     newEnding(r.Lifecycle.Response),
		rotation:  newRotation(r, id, slots),
		ear:       newEar(&r.Lifecycle, slots),
		content:   newContent(&r.Lifecycle, slots),
		buffer:    make([]byte, readSize),
		quota:     pace.Never,
		hist:      newRecorders(),
		spares:    make(chan *metrics.Recorder, 1),

		random: rand.New(pace.Generator(r.Seed, r.Place(id), pace.GapStream)),
		phases: pace.Generator(r.Seed, r.Place(id), pace.PhaseStream).Uint64(),

		settings4:     settings(&r.Options, unix.AF_INET),
		settings6:     settings(&r.Options, unix.AF_INET6),
		congestion:    []byte(r.Options.Congestion),
		protocol:      protocol(&r.Options),
		openLimit:     pace.NewLimiter(r.OpenRate, r.Places()),
		exchangeLimit: pace.NewLimiter(r.ExchangeRate, r.Places()),
		closeLimit:    pace.NewLimiter(r.CloseRate, r.Places()),
		startsPerTurn: startsPerTurn,
		measureFrom:   int64(r.Warmup),
	}
	if r.Places() <= runtime.NumCPU() { // else polling would take the processor from another loop
		l.early = usualWakeEarly
	}
	l.sampled = newSampler(pace.Generator(r.Seed, r.Place(id), pace.EstablishedStream))
	l.sampledEnds = newSampler(pace.Generator(r.Seed, r.Place(id), pace.ClosingStream))
	l.selfPossible = slices.ContainsFunc(own, func(s space) bool { return s.loop })
	l.refusable = refusable(l.request)
	l.prepare()
	for slot := int32(slots) - 1; slot >= 0; slot-- {
		l.freeSlots = append(l.freeSlots, slot)
	}
	if r.Count > 0 {
		l.quota = pace.Share(r.Count, r.Place(id), r.Places())
	}
	if r.Lifecycle.Hello != nil {
		l.hello = newEnding(r.Lifecycle.Hello.Response)
	}
	if (l.until.Kind == loadgen.Match || l.hello.Kind == loadgen.Match) && !r.Lifecycle.ConnectOnly {
		l.seen, l.matchStates = make([][]byte, slots), make([]matchState, slots)
	}
	if r.Process == pace.Hold && !r.Replace {
		l.quota = slots
	}
	l.arrivals = pace.NewArrivals(r.Plan(id))
	l.interval = interval{end: l.measureFrom + perInterval, connect: metrics.NewRecorder()}
	l.spares <- metrics.NewRecorder()
	return l, nil
}

// prepare fills in what follows from the lifecycle and the arrivals.
func (l *loop) prepare() {
	if life := &l.Lifecycle; life.Pipeline {
		l.perSend = uint16(l.exchanges)
		l.request = slices.Concat(life.Request, bytes.Repeat(life.Again, int(l.exchanges)-1))
	}
	if l.Process == pace.Bursts {
		// One instant is one turn, whatever waits for the loop.
		l.startsPerTurn = int(pace.Share(uint64(l.Burst), l.Place(l.id), l.Places()))
	}
}

// clock reads the time and moves the loop's own.
func (l *loop) clock() int64 {
	l.now = l.run.now()
	return l.now
}

func (l *loop) inFlight() int { return len(l.conns) - len(l.freeSlots) }

func (l *loop) nextSpace() *space {
	s := &l.spaces[l.space]
	if l.space++; l.space == len(l.spaces) {
		l.space = 0
	}
	return s
}

// live is the life of the loop's thread. The thread is never unlocked, so it ends with
// the loop, and so does the timer slack that was set for it.
func (l *loop) live() {
	runtime.LockOSThread()
	// Without it epoll_pwait2 comes back 80 µs late; where it is refused, it does.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	var err error
	for err == nil && !l.over() {
		err = l.turn()
	}
	l.arrivals.Missed += l.leftOver()
	l.abandon()
	l.endWindow()
	l.events <- loopEvent{kind: loopDone, loop: l.id, second: l.lastSecond(), err: err}
}

// over tells whether there is nothing left to start and nothing left to wait for.
func (l *loop) over() bool {
	return l.done() && l.inFlight() == 0 || l.now >= l.abandonAt.Load()
}

// turn is one round: start what is due, wait for the next thing, handle, expire.
func (l *loop) turn() error {
	n, err := l.wait()
	if err == nil {
		l.deal(n)
	}
	return err
}

// wait starts what is due and waits until there is work. It returns the number of events that
// came.
func (l *loop) wait() (events int, err error) {
	l.passMarks()
	next := l.startDue()
	if l.over() { // the last attempts failed at once: there is nothing to wait for
		return 0, nil
	}
	wake := min(next-l.early, l.wheel.Next(), l.nextMark())
	if len(l.unread) > 0 {
		wake = l.now
	}
	l.slept = l.clock()
	if l.worked {
		l.busy += l.now - l.woke
		l.turns++
		if l.measuring {
			l.hist.loopLag.Record(l.now - l.woke)
		}
	}
	if events, err = l.poller.Wait(time.Duration(wake - l.now)); err != nil {
		return 0, err
	}
	l.woke = l.clock()
	l.worked = events > 0
	return events, nil
}

// deal handles the events that came, and what has expired.
func (l *loop) deal(events int) {
	for i := range events {
		if e, ok := l.poller.Event(i); ok {
			l.handle(e)
			l.keepPace()
		}
	}
	l.readOn()
	l.wheel.Advance(l.clock())
	for range expiriesPerTurn {
		slot, due, ok := l.wheel.Pop()
		if !ok {
			break
		}
		l.worked = true
		l.expire(slot, due)
		l.keepPace()
	}
}

// readLater has a connection read on in the next turn: no edge tells of what is there already.
func (l *loop) readLater(slot int32) {
	if !l.listed[slot] {
		l.listed[slot] = true
		l.unread = append(l.unread, epoll.Token{Slot: slot, Generation: l.conns[slot].generation})
	}
}

// readOn gives those that may have more to read their turn. Whatever state they are in by now,
// an event that announces data or a FIN makes a connection look, and does no harm.
func (l *loop) readOn() {
	n := min(len(l.unread), eventsPerTurn)
	for _, token := range l.unread[:n] {
		l.listed[token.Slot] = false
		l.worked = true
		l.handle(epoll.Event{Mask: epoll.In | epoll.RDHup, Token: token})
		l.keepPace()
	}
	l.unread = slices.Delete(l.unread, 0, n)
}

// keepPace starts an arrival of a rate that has become due in the middle of a turn: the events
// of a whole turn take up to milliseconds. It starts one, so that they go on.
func (l *loop) keepPace() {
	if l.arrivals.Profile != nil && l.arrivals.Due <= l.now {
		l.startNext()
	}
}

// startDue starts what is due, within bounds, and returns when the next arrival is.
func (l *loop) startDue() int64 {
	next := int64(pace.Never)
	if len(l.queue) > 0 {
		next = l.retryHeld()
	}
	for range l.startsPerTurn {
		if start := l.startNext(); start > l.now {
			return min(next, start)
		}
	}
	return l.now
}

// startNext starts the next arrival if it is time, else it returns when that will be.
func (l *loop) startNext() int64 {
	start, due := l.nextArrival()
	if start <= l.now {
		l.worked = true
		measured := l.measures(due)
		l.take(measured)
		l.arrive(due, measured)
	}
	return start
}

// retryHeld tries the oldest attempts that wait for a four-tuple, and returns when to try
// the next. One success opens the gate for the rest.
func (l *loop) retryHeld() int64 {
	for range startsPerTurn {
		switch {
		case len(l.queue) == 0:
			return pace.Never
		case l.gate.Holds(l.now):
			return l.gate.Until
		}
		t := l.queue[0]
		c := &l.conns[t.Slot]
		if c.generation == t.Generation { // else it timed out in the queue
			l.worked = true
			l.connect(t.Slot)
			if c.generation == t.Generation && c.state == waiting {
				continue // the oldest stays in front
			}
		}
		l.queue = l.queue[1:]
	}
	return l.now
}

// abandon closes what is still open at the end of a run. It stays counted as open.
func (l *loop) abandon() {
	for slot := range l.conns {
		if c := &l.conns[slot]; c.state != free && c.fd >= 0 {
			closeSocket(int(c.fd))
		}
	}
}
