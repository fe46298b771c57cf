package sockets

import (
	"golang.org/x/sys/unix"

	"tcpbench/internal/epoll"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
	"tcpbench/metrics"
)

// state says what happens next to a connection.
//
//	state       waits for                         deadline        next
//	free        an arrival                        –               waiting, connecting
//	waiting     a free four-tuple                 timeout         connecting
//	connecting  ESTABLISHED (SYN-ACK) or an error timeout         hailing, sending, resting, closing
//	hailing     room for the hello                timeout         hearing
//	hearing     the rest of the hello's answer    timeout         sending
//	sending     room in the send buffer           timeout         receiving, resting, awaiting, closing
//	receiving   the rest of what was asked for    timeout or beat sending, resting, awaiting, closing
//	resting     the next exchange, beat or close  that time       sending, receiving, awaiting, closing
//	awaiting    the server's FIN or RST           timeout         –
//	closing     the end of the other side,        timeout         receiving
//	            half-closed (FIN_WAIT_1 or 2)
//
// From every state finish leads to free: it is the only end of an attempt, as enter is
// the only way into the states between. Sockets are watched edge-triggered, with one
// epoll_ctl in a whole life; so a handler reads until the kernel has no more, or until
// a short read while no FIN is announced.
//
// The functions of connecting and of every end stand here, those of sending, receiving
// and resting in exchange.go, those of hailing and hearing in greeting.go, those of
// awaiting and closing in closing.go.
type state uint8

const (
	free state = iota
	waiting
	connecting
	hailing
	hearing
	sending
	receiving
	resting
	awaiting
	closing
	states
)

// stageOf tells to which stage of a life the end of an attempt in that state belongs.
var stageOf = [states]metrics.Stage{
	waiting:    metrics.StageConnect,
	connecting: metrics.StageConnect,
	hailing:    metrics.StageHello,
	hearing:    metrics.StageHello,
	sending:    metrics.StageExchange,
	receiving:  metrics.StageExchange,
	resting:    metrics.StageExchange,
	awaiting:   metrics.StageClose,
	closing:    metrics.StageClose,
}

// conn is one slot of a loop's slab: 64 bytes without a pointer, so that the garbage
// collector has nothing to look at in a slab of any size.
type conn struct {
	due      int64 // when it was to start; in a free slot, since when it is free
	began    int64 // when connect() was called
	mark     int64 // before the first send() of the oldest unanswered request, or before our FIN
	received int64 // bytes of the response that has begun
	heard    int64 // when the peer last gave a sign of life
	fd       int32
	sent     uint32 // bytes of the request
	// generation counts the lives of the slot; it is part of the epoll token.
	generation uint32
	left       uint32 // exchanges that the script still holds
	pending    uint16 // requests sent and not answered
	missed     uint8  // beats in a row without an answer
	state      state
	measured   bool // it was due within the measured time
	readable   bool // data arrived while the request was still being sent
	again      bool // the first request has been sent
	leaving    bool // nothing is left to do but to close
}

// ended is set in an event when the peer has sent its FIN or RST: then a short read
// does not mean that there is nothing more to learn.
const ended = epoll.RDHup | epoll.Hup | epoll.Err

// enter sets the state and its usual deadline.
func (l *loop) enter(slot int32, s state) { l.enterUntil(slot, s, l.now+int64(l.Timeout)) }

// enterUntil sets the state and its deadline; never is none.
func (l *loop) enterUntil(slot int32, s state, deadline int64) {
	l.conns[slot].state = s
	if deadline == pace.Never {
		l.wheel.Cancel(slot)
	} else {
		l.wheel.Set(slot, deadline)
	}
}

// handle acts on an event. One of an earlier life of the slot is ignored.
func (l *loop) handle(e epoll.Event) {
	c := &l.conns[e.Slot]
	if c.generation != e.Generation {
		return
	}
	l.now = l.clock()
	switch c.state {
	case connecting:
		l.onConnecting(e.Slot, e.Mask)
	case hailing:
		c.readable = c.readable || e.Mask&epoll.In != 0
		l.onHailing(e.Slot, e.Mask)
	case hearing:
		l.onHearing(e.Slot, e.Mask)
	case sending:
		c.readable = c.readable || e.Mask&epoll.In != 0
		l.onSending(e.Slot, e.Mask)
	case receiving:
		l.onReceiving(e.Slot, e.Mask)
	case resting:
		l.onResting(e.Slot, e.Mask)
	case awaiting:
		l.onAwaiting(e.Slot)
	case closing:
		l.onClosing(e.Slot)
	}
}

// onConnecting: the handshake is over, one way or the other. tcp_poll() reports OUT in
// any state but SYN_SENT, and ERR exactly if SO_ERROR is set; so SO_ERROR needs to be
// read only when ERR or HUP is there.
func (l *loop) onConnecting(slot int32, mask uint32) {
	c := &l.conns[slot]
	if mask&(epoll.Err|epoll.Hup) != 0 {
		errno := pendingError(int(c.fd))
		stage := metrics.StageConnect
		switch errno {
		case 0:
			errno = unix.ECONNRESET // HUP alone: both directions are down
			stage = l.firstStage()
		case unix.ECONNRESET, unix.EPIPE:
			// In SYN_SENT a RST is ECONNREFUSED (tcp_reset): this one came later.
			stage = l.firstStage()
		}
		if stage != metrics.StageConnect {
			l.established++ // unseen, but the server has accepted it
		}
		l.fail(slot, stage, errno)
		return
	}
	if mask&epoll.Out == 0 {
		return
	}
	if l.selfPossible && connectedToItself(int(c.fd)) {
		_ = abortOnClose(int(c.fd))                           // or the port of the target is taken for a minute
		l.finish(slot, metrics.StageConnect, metrics.Refused) // nobody listens
		return
	}
	l.established++
	if l.Options.MPTCP {
		l.countMultipath(c)
	}
	l.content.begin(slot)
	c.heard = l.now
	if c.measured {
		l.hist.connect.Record(l.now - c.due)
		l.interval.connect.Record(l.now - c.due)
		if l.open {
			l.hist.connectUncorrected.Record(l.now - c.began)
		}
		l.sampleEstablished(c)
	}
	if l.Lifecycle.ConnectOnly {
		l.settle(c)
		c.left = 0
		l.proceed(slot, mask)
		return
	}
	c.readable = mask&epoll.In != 0
	if l.Lifecycle.Hello != nil {
		c.mark = l.clock()
		l.enter(slot, hailing)
		l.onHailing(slot, mask)
		return
	}
	l.ask(slot, mask)
}

// firstStage is where a connection is once it is established.
func (l *loop) firstStage() metrics.Stage {
	if l.Lifecycle.Hello != nil {
		return metrics.StageHello
	}
	return metrics.StageExchange
}

// expire: the deadline of the state, due, has passed.
func (l *loop) expire(slot int32, due int64) {
	switch s := l.conns[slot].state; {
	case s == free:
	case s == waiting:
		l.finish(slot, metrics.StageConnect, metrics.PortsExhausted)
	case s == resting:
		l.noteLag(slot, due)
		l.act(slot, 0)
	case s == receiving && l.Lifecycle.Beat != nil:
		l.onMissed(slot, due)
	default:
		l.finish(slot, stageOf[s], metrics.TimedOut)
	}
}

// noteLag records how late the loop does what a connection had planned for the time due. What
// the end of the run dismisses has no such time.
func (l *loop) noteLag(slot int32, due int64) {
	if l.conns[slot].measured && !l.dismissed {
		l.hist.scheduleLag.Record(l.clock() - due)
	}
}

// fail ends an attempt by an errno, or holds it back where the policy says so.
func (l *loop) fail(slot int32, stage metrics.Stage, errno unix.Errno) {
	outcome := outcomeOf(stage, errno)
	if scarce(outcome) {
		l.gate.Shut(l.clock())
		if outcome == metrics.PortsExhausted {
			l.noteExhaustion()
			switch l.OnExhausted {
			case loadgen.WaitExhausted:
				l.hold(slot)
				return
			case loadgen.StopExhausted:
				l.stop("no four-tuple was free, and --on-exhausted is stop")
			}
		}
	}
	l.finish(slot, stage, outcome)
}

// finish is the end of every attempt: it counts the outcome, closes the socket and
// frees the slot.
func (l *loop) finish(slot int32, stage metrics.Stage, outcome metrics.Outcome) {
	c := &l.conns[slot]
	if outcome == metrics.Reset {
		outcome = l.behindReset(c)
	}
	if c.fd >= 0 {
		if outcome == metrics.Succeeded && c.measured {
			l.sampleClosing(c)
		}
		if outcome != metrics.Succeeded && c.measured {
			l.noteAnswer(slot, stage, outcome)
		}
		closeSocket(int(c.fd))
	}
	l.clock()
	l.settle(c)
	l.passes(outcome)
	if c.measured {
		l.ends[stage][outcome]++
		if outcome == metrics.Succeeded {
			l.hist.lifetime.Record(l.now - c.due)
			if l.open {
				l.hist.lifetimeUncorrected.Record(l.now - c.began)
			}
		}
	}
	l.clear(slot)
	l.rotation.done(slot)
	l.wheel.Cancel(slot)
	c.state = free
	c.generation++
	l.listed[slot] = false
	c.due = l.now
	l.freeSlots = append(l.freeSlots, slot)
}
