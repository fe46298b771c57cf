package loadgen

import (
	"golang.org/x/sys/unix"

	"tcpbench/internal/epoll"
	"tcpbench/internal/wire"
	"tcpbench/metrics"
)

// state says what happens next to a connection.
//
//	state       waits for                         deadline  next
//	free        an arrival                        –         waiting, connecting
//	waiting     a free four-tuple                 timeout   connecting
//	connecting  ESTABLISHED (SYN-ACK) or an error timeout   sending, receiving, closing
//	sending     room in the send buffer           timeout   receiving, awaiting, closing
//	receiving   the rest of the response          timeout   awaiting, closing
//	awaiting    the server's FIN or RST           timeout   –
//	closing     the end of the other side,        timeout   –
//	            half-closed (FIN_WAIT_1 or 2)
//
// From every state finish leads to free: it is the only end of an attempt, as enter is
// the only way into the states between. Sockets are watched edge-triggered, with one
// epoll_ctl in a whole life; so a handler reads until the kernel has no more, or until
// a short read while no FIN is announced.
type state uint8

const (
	free state = iota
	waiting
	connecting
	sending
	receiving
	awaiting
	closing
	states
)

// stageOf tells to which stage of a life the end of an attempt in that state belongs.
var stageOf = [states]metrics.Stage{
	waiting:    metrics.StageConnect,
	connecting: metrics.StageConnect,
	sending:    metrics.StageExchange,
	receiving:  metrics.StageExchange,
	awaiting:   metrics.StageClose,
	closing:    metrics.StageClose,
}

// conn is one slot of a loop's slab: 48 bytes without a pointer, so that the garbage
// collector has nothing to look at in a slab of any size.
type conn struct {
	due      int64 // when it was to start; in a free slot, since when it is free
	began    int64 // when connect() was called
	mark     int64 // when the present stage began: request sent, FIN sent
	received int64 // bytes of the response
	fd       int32
	sent     uint32 // bytes of the request
	// generation counts the lives of the slot; it is part of the epoll token.
	generation uint32
	state      state
	measured   bool // it was due within the measured time
	readable   bool // data arrived while the request was still being sent
	loop       bool // it can be one with itself
}

// rttSample is how many connections there are to each handshake RTT asked of the kernel.
const rttSample = 64

// ended is set in an event when the peer has sent its FIN or RST: then a short read
// does not mean that there is nothing more to learn.
const ended = epoll.RDHup | epoll.Hup | epoll.Err

// enter sets the state and its deadline.
func (l *loop) enter(slot int32, s state) {
	l.conns[slot].state = s
	l.wheel.Set(slot, l.now+int64(l.Timeout))
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
	case sending:
		c.readable = c.readable || e.Mask&epoll.In != 0
		l.onSending(e.Slot, e.Mask)
	case receiving:
		l.onReceiving(e.Slot, e.Mask)
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
			stage = metrics.StageExchange
		case unix.ECONNRESET, unix.EPIPE:
			// In SYN_SENT a RST is ECONNREFUSED (tcp_reset): this one came later.
			stage = metrics.StageExchange
		}
		if stage == metrics.StageExchange {
			l.established++ // unseen, but the server has accepted it
		}
		l.fail(slot, stage, errno)
		return
	}
	if mask&epoll.Out == 0 {
		return
	}
	if c.loop && connectedToItself(int(c.fd)) {
		_ = abortOnClose(int(c.fd))                           // or the port of the target is taken for a minute
		l.finish(slot, metrics.StageConnect, metrics.Refused) // nobody listens
		return
	}
	l.established++
	if c.measured {
		l.hist.connect.Record(l.now - c.due)
		l.interval.connect.Record(l.now - c.due)
		if l.open {
			l.hist.connectUncorrected.Record(l.now - c.began)
		}
		if l.sampled++; l.sampled%rttSample == 0 {
			if rtt, errno := roundTrip(int(c.fd)); errno == 0 {
				l.hist.handshakeRTT.Record(rtt)
			}
		}
	}
	if l.Lifecycle.ConnectOnly {
		l.close(slot, mask)
		return
	}
	c.readable = mask&epoll.In != 0
	l.enter(slot, sending)
	l.onSending(slot, mask)
}

// onSending writes what is left of the request.
func (l *loop) onSending(slot int32, mask uint32) {
	c := &l.conns[slot]
	if int(c.sent) < len(l.Lifecycle.Request) {
		n, errno := send(int(c.fd), l.Lifecycle.Request[c.sent:])
		switch errno {
		case 0:
			c.sent += uint32(n)
		case unix.EAGAIN:
		default:
			l.fail(slot, metrics.StageExchange, errno)
			return
		}
		if int(c.sent) < len(l.Lifecycle.Request) {
			return // an edge comes when there is room
		}
	}
	c.mark = l.clock()
	if l.until.Kind == Exactly && l.until.Bytes == 0 {
		l.responded(slot, mask)
		return
	}
	l.enter(slot, receiving)
	if c.readable || mask&ended != 0 {
		l.onReceiving(slot, mask)
	}
}

// onReceiving reads until the response is whole.
func (l *loop) onReceiving(slot int32, mask uint32) {
	c := &l.conns[slot]
	for {
		n, errno := read(int(c.fd), l.buffer)
		switch {
		case errno == unix.EAGAIN:
			return
		case errno == unix.ECONNRESET && l.until.Kind == PeerFIN && l.Lifecycle.CloseHow == wire.RST && l.answered(c):
			l.recordExchange(c)
			l.finish(slot, metrics.StageExchange, metrics.Succeeded)
			return
		case errno != 0:
			l.fail(slot, metrics.StageExchange, errno)
			return
		case n == 0:
			l.peerClosed(slot)
			return
		}
		if c.received == 0 && c.measured {
			l.hist.firstByte.Record(l.clock() - c.mark)
		}
		c.received += int64(n)
		whole, outcome := l.whole(slot, l.buffer[:n])
		if outcome != metrics.Succeeded {
			l.finish(slot, metrics.StageExchange, outcome)
			return
		}
		if whole {
			l.recordExchange(c)
			l.responded(slot, mask)
			return
		}
		if n < len(l.buffer) && mask&ended == 0 {
			return
		}
	}
}

// whole tells whether the response is complete with the bytes just read.
func (l *loop) whole(slot int32, chunk []byte) (bool, metrics.Outcome) {
	c := &l.conns[slot]
	switch l.until.Kind {
	case Exactly:
		if c.received > l.until.Bytes {
			return false, metrics.Unexpected
		}
		return c.received == l.until.Bytes, metrics.Succeeded
	case AtLeast:
		return c.received >= l.until.Bytes, metrics.Succeeded
	case Match:
		seen := append(l.seen[slot], chunk...)
		l.seen[slot] = seen
		if l.pattern.Match(seen) {
			return true, metrics.Succeeded
		}
		if len(seen) > MaxMatch {
			return false, metrics.Unexpected
		}
	}
	return false, metrics.Succeeded
}

// peerClosed: a FIN instead of more response.
func (l *loop) peerClosed(slot int32) {
	c := &l.conns[slot]
	switch {
	case l.until.Kind != PeerFIN:
		l.finish(slot, metrics.StageExchange, metrics.ClosedEarly)
	case !l.answered(c):
		l.finish(slot, metrics.StageExchange, metrics.ClosedEarly)
	case l.Lifecycle.CloseHow == wire.RST:
		l.finish(slot, metrics.StageClose, metrics.Unexpected)
	default:
		l.recordExchange(c)
		l.finish(slot, metrics.StageExchange, metrics.Succeeded)
	}
}

// answered is false when the peer took the request and said nothing: an end of the
// connection alone is no response.
func (l *loop) answered(c *conn) bool { return c.received > 0 || len(l.Lifecycle.Request) == 0 }

func (l *loop) recordExchange(c *conn) {
	if c.measured {
		l.hist.exchange.Record(l.clock() - c.mark)
	}
}

// responded: the script is played; what is left is the close.
func (l *loop) responded(slot int32, mask uint32) {
	if l.Lifecycle.CloseBy == wire.Client {
		l.close(slot, mask)
		return
	}
	l.enter(slot, awaiting)
	if mask&ended != 0 {
		l.onAwaiting(slot)
	}
}

// close is the active close.
func (l *loop) close(slot int32, mask uint32) {
	c := &l.conns[slot]
	switch {
	case l.Lifecycle.CloseHow == wire.RST:
		if errno := abortOnClose(int(c.fd)); errno != 0 {
			l.fail(slot, metrics.StageClose, errno)
			return
		}
	case l.Lifecycle.CloseWait:
		c.mark = l.clock()
		if errno := shutdownWrite(int(c.fd)); errno != 0 {
			l.fail(slot, metrics.StageClose, errno)
			return
		}
		l.enter(slot, closing)
		if mask&(ended|epoll.In) != 0 {
			l.onClosing(slot)
		}
		return
	}
	l.finish(slot, metrics.StageClose, metrics.Succeeded)
}

// onAwaiting: the server closes, in the way its script says.
func (l *loop) onAwaiting(slot int32) {
	c := &l.conns[slot]
	n, errno := read(int(c.fd), l.buffer)
	switch {
	case errno == unix.EAGAIN:
	case errno == unix.ECONNRESET && l.Lifecycle.CloseHow == wire.RST,
		errno == 0 && n == 0 && l.Lifecycle.CloseHow == wire.FIN:
		l.finish(slot, metrics.StageClose, metrics.Succeeded)
	case errno != 0:
		l.fail(slot, metrics.StageClose, errno)
	default: // bytes behind the response, or a FIN where a RST was asked for
		l.finish(slot, metrics.StageClose, metrics.Unexpected)
	}
}

// onClosing: own FIN is sent; whatever the peer still says is read and dropped.
func (l *loop) onClosing(slot int32) {
	c := &l.conns[slot]
	for {
		n, errno := read(int(c.fd), l.buffer)
		if errno == unix.EAGAIN {
			return
		}
		if errno == 0 && n > 0 {
			continue
		}
		if c.measured && (errno == 0 || errno == unix.ECONNRESET) {
			l.hist.closeTime.Record(l.clock() - c.mark)
		}
		if errno != 0 {
			l.fail(slot, metrics.StageClose, errno)
		} else {
			l.finish(slot, metrics.StageClose, metrics.Succeeded)
		}
		return
	}
}

// expire: the deadline of the state has passed.
func (l *loop) expire(slot int32) {
	switch s := l.conns[slot].state; s {
	case free:
	case waiting:
		l.finish(slot, metrics.StageConnect, metrics.PortsExhausted)
	default:
		l.finish(slot, stageOf[s], metrics.TimedOut)
	}
}

// fail ends an attempt by an errno, or holds it back where the policy says so.
func (l *loop) fail(slot int32, stage metrics.Stage, errno unix.Errno) {
	outcome := outcomeOf(stage, errno)
	if scarce(outcome) {
		l.gate.shut(l.clock())
		if outcome == metrics.PortsExhausted {
			switch l.OnExhausted {
			case WaitExhausted:
				l.hold(slot)
				return
			case StopExhausted:
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
	if c.fd >= 0 {
		closeSocket(int(c.fd))
	}
	l.now = l.clock()
	if c.measured {
		l.ends[stage][outcome]++
		if outcome == metrics.Succeeded {
			l.hist.lifetime.Record(l.now - c.due)
			if l.open {
				l.hist.lifetimeUncorrected.Record(l.now - c.began)
			}
		}
	}
	if l.seen != nil {
		l.seen[slot] = l.seen[slot][:0]
	}
	l.wheel.Cancel(slot)
	c.state = free
	c.generation++
	c.due = l.now
	l.freeSlots = append(l.freeSlots, slot)
}
