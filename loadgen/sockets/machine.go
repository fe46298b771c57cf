package sockets

import (
	"golang.org/x/sys/unix"

	"tcpbench/internal/epoll"
	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
	"tcpbench/metrics"
)

// state says what happens next to a connection, beside its state in RFC 9293, section 3.3.2.
//
//	state         TCP          waits for                    deadline        next
//	free          CLOSED       an arrival                   –               parked, connecting
//	parked        CLOSED       a free four-tuple            timeout         connecting
//	connecting    SYN-SENT     SYN-ACK or an error          timeout         sendingHello, sending, idle, halfClosed
//	sendingHello  ESTABLISHED  room in the send buffer      timeout         readingHello
//	readingHello  ESTABLISHED  the rest of its answer       timeout         sending
//	sending       ESTABLISHED  room in the send buffer      timeout         receiving, idle, awaitingFIN, halfClosed
//	receiving     ESTABLISHED  the rest of the answers      timeout or beat sending, idle, awaitingFIN, halfClosed
//	idle          ESTABLISHED  the next exchange or close   that time       sending, awaitingFIN, halfClosed
//	awaitingFIN   ESTABLISHED  the server's FIN or RST      timeout         –
//	halfClosed    FIN-WAIT-1,2 the FIN of the other side    timeout         –
//
// From every state finish leads to free: it is the only end of an attempt, as enterUntil is the only
// way into the others. If the FIN goes with the last request, receiving is half-closed, too. Sockets
// are watched edge-triggered, with one epoll_ctl in a whole life; so a handler reads until the
// kernel has no more, or until a short read while no FIN is announced.
type state uint8

const (
	free state = iota
	parked
	connecting
	sendingHello
	readingHello
	sending
	receiving
	idle
	awaitingFIN
	halfClosed
)

// stageOf tells to which stage of a life the end of an attempt in that state belongs.
var stageOf = [...]metrics.Stage{
	parked: metrics.StageConnect, connecting: metrics.StageConnect,
	sendingHello: metrics.StageHello, readingHello: metrics.StageHello,
	sending: metrics.StageExchange, receiving: metrics.StageExchange, idle: metrics.StageExchange,
	awaitingFIN: metrics.StageClose, halfClosed: metrics.StageClose,
}

// enter sets the state, with a timeout as its deadline.
func (l *loop) enter(slot int32, s state) { l.enterUntil(slot, s, l.now+int64(l.Timeout)) }

// enterUntil sets the state and its deadline, or pace.Never.
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
	l.clock()
	switch c.state {
	case connecting:
		l.onConnecting(e.Slot, e.Mask)
	case sendingHello, sending:
		c.readable = c.readable || e.Mask&epoll.In != 0
		l.onSending(e.Slot, e.Mask)
	case readingHello, receiving:
		l.onReceiving(e.Slot, e.Mask)
	case idle:
		l.onIdle(e.Slot, e.Mask)
	case awaitingFIN:
		l.onAwaitingFIN(e.Slot)
	case halfClosed:
		l.onHalfClosed(e.Slot)
	}
}

// expire acts on the deadline of a state, which was due.
func (l *loop) expire(slot int32, due int64) {
	switch s := l.conns[slot].state; {
	case s == free:
	case s == parked:
		l.finish(slot, metrics.StageConnect, metrics.PortsExhausted)
	case s == idle:
		l.noteLag(slot, due)
		l.act(slot, 0)
	case s == receiving && l.Lifecycle.Beat != nil:
		l.missBeat(slot, due)
	default:
		l.finish(slot, stageOf[s], metrics.TimedOut)
	}
}

// onConnecting: the handshake is over, one way or the other. tcp_poll() reports OUT in any state but
// SYN_SENT, and ERR exactly if SO_ERROR is set; so SO_ERROR is read only if ERR or HUP is there.
func (l *loop) onConnecting(slot int32, mask uint32) {
	c := &l.conns[slot]
	switch {
	case mask&(epoll.Err|epoll.Hup) != 0:
		l.failConnect(slot, pendingError(int(c.fd)))
		return
	case mask&epoll.Out == 0:
		return
	case l.tuples.meets && connectedToItself(int(c.fd)):
		_ = abortOnClose(int(c.fd))                           // or the port of the target is taken for a minute
		l.finish(slot, metrics.StageConnect, metrics.Refused) // nobody listens
		return
	}
	l.noteEstablished(slot, c)
	c.readable = mask&epoll.In != 0
	switch {
	case l.Lifecycle.ConnectOnly:
		l.settle(c)
		c.left = 0
		l.proceed(slot, mask)
	case l.Lifecycle.Hello != nil:
		c.mark = l.clock()
		l.enter(slot, sendingHello)
		l.onSending(slot, mask)
	default:
		l.ask(slot, mask)
	}
}

// ask sends the next request. Its clock starts before the first send(): on loopback that call takes
// the request to the server, so half of an exchange may be over when it returns.
func (l *loop) ask(slot int32, mask uint32) {
	c := &l.conns[slot]
	if l.clock(); c.pending == 0 {
		c.mark = l.now
	}
	l.enter(slot, sending)
	l.onSending(slot, mask)
}

// onSending writes what is left of the request, or of the hello.
func (l *loop) onSending(slot int32, mask uint32) {
	c := &l.conns[slot]
	message := l.message(slot)
	if int(c.sent) < len(message) {
		n, errno := send(int(c.fd), message[c.sent:])
		if errno != 0 && errno != unix.EAGAIN {
			l.lose(slot, outcomeOf(metrics.StageExchange, errno))
			return
		}
		if c.sent += uint32(n); int(c.sent) < len(message) {
			return // an edge comes when there is room
		}
	}
	c.sent = 0
	switch {
	case c.state == sendingHello:
		l.enter(slot, readingHello)
		l.readOnce(slot, mask)
	case l.Lifecycle.Beats(loadgen.ServerPings):
		l.pong(slot, mask)
	default:
		l.asked(slot, mask)
	}
}

// asked: a whole request is in the kernel's hands.
func (l *loop) asked(slot int32, mask uint32) {
	c := &l.conns[slot]
	c.pending += l.script.perSend
	c.further = true
	l.script.rotation.done(slot)
	if l.Lifecycle.Beat != nil {
		l.report.Beats.Sent++
	}
	if l.Lifecycle.CloseHow == wire.HalfClose && c.left <= uint32(c.pending) {
		// The last request, and then our FIN: the response comes to a half-closed socket.
		if errno := shutdownWrite(int(c.fd)); errno != 0 {
			l.fail(slot, metrics.StageExchange, errno)
			return
		}
	}
	if l.script.until.Kind == loadgen.Exactly && l.script.until.Bytes == 0 {
		l.exchanged(slot, mask)
		return
	}
	l.enterUntil(slot, receiving, l.answerBy(slot))
	l.readOnce(slot, mask)
}

// onReceiving reads until the response, or the answer to the hello, is complete.
func (l *loop) onReceiving(slot int32, mask uint32) {
	c := &l.conns[slot]
	for range readsPerEvent {
		n, errno := read(int(c.fd), l.buffer)
		switch {
		case errno == unix.EAGAIN:
			return
		case errno != 0 || n == 0:
			l.peerEnded(slot, errno)
			return
		}
		more := n == len(l.buffer) || mask&ended != 0 // to read
		if l.receive(slot, mask, l.buffer[:n], more) || !more {
			return
		}
	}
	l.readLater(slot)
}

// peerEnded: a FIN, if errno is zero, or an error instead of more response. It may be the end of the
// response that was asked for.
func (l *loop) peerEnded(slot int32, errno unix.Errno) {
	c := &l.conns[slot]
	aborts := l.Lifecycle.CloseHow == wire.RST
	// The end of a connection alone is no response to a request.
	responded := c.received > 0 || len(l.script.first) == 0
	switch {
	case c.state == readingHello, l.script.until.Kind != loadgen.PeerFIN, !responded, errno != 0 && !(aborts && errno == unix.ECONNRESET):
		l.lose(slot, outcomeOf(metrics.StageExchange, errno))
	case errno == 0 && aborts:
		l.finish(slot, metrics.StageClose, metrics.Unexpected)
	default:
		l.clock()
		l.noteExchange(c)
		l.finish(slot, metrics.StageExchange, metrics.Succeeded)
	}
}

// exchanged: all requests are answered, or no answer is due.
func (l *loop) exchanged(slot int32, mask uint32) {
	c := &l.conns[slot]
	l.clear(slot)
	l.settle(c)
	c.left -= min(c.left, uint32(l.script.perSend))
	c.pending = 0
	l.proceed(slot, mask)
}

// proceed decides when the connection acts next, and does so at once if that is now.
func (l *loop) proceed(slot int32, mask uint32) {
	c := &l.conns[slot]
	at := l.now
	switch {
	case l.released:
		c.leaving = true
	case l.Lifecycle.Beat != nil:
		at = l.nextBeat(slot)
	case c.left > 0:
		at = l.exchanges.At(l.now + l.gaps.Next())
	case l.Lifecycle.StayToEnd:
		c.leaving = true
		at = pace.Never
	default:
		c.leaving = true
		at += int64(l.Lifecycle.Stay)
	}
	if c.leaving && at != pace.Never {
		at = l.closes.At(at)
	}
	if at <= l.now {
		l.act(slot, mask)
		return
	}
	l.enterUntil(slot, idle, at)
	if mask&ended != 0 {
		l.onIdle(slot, mask)
	}
}

// act does what an idle connection waited for.
func (l *loop) act(slot int32, mask uint32) {
	if l.conns[slot].leaving {
		l.leave(slot, mask)
		return
	}
	l.ask(slot, mask)
}

// onIdle: nothing is due, so whatever comes is the peer's end or a surprise.
func (l *loop) onIdle(slot int32, mask uint32) {
	if mask&(ended|epoll.In) == 0 {
		return
	}
	c := &l.conns[slot]
	n, errno := read(int(c.fd), l.buffer)
	switch {
	case errno == unix.EAGAIN:
	case errno != 0 || n == 0:
		l.lose(slot, outcomeOf(metrics.StageExchange, errno))
	case l.refused(slot, n):
	case c.leaving && l.Lifecycle.Beat != nil: // a beat that crossed the end of the run
	default:
		l.replies.ear.hear(slot, l.buffer[:n])
		l.finish(slot, metrics.StageExchange, metrics.Unexpected)
	}
}

// leave: the script is played; what is left is the close.
func (l *loop) leave(slot int32, mask uint32) {
	c := &l.conns[slot]
	half := l.Lifecycle.CloseHow == wire.HalfClose // our FIN went with the last request
	var errno unix.Errno
	switch {
	case l.Lifecycle.CloseBy == wire.Server:
		l.enter(slot, awaitingFIN)
		if mask&ended != 0 {
			l.onAwaitingFIN(slot)
		}
		return
	case l.Lifecycle.CloseHow == wire.RST:
		errno = abortOnClose(int(c.fd))
	case l.Lifecycle.CloseWait && !half:
		c.mark = l.clock()
		errno = shutdownWrite(int(c.fd))
	}
	switch {
	case errno != 0:
		l.fail(slot, metrics.StageClose, errno)
	case half || l.Lifecycle.CloseWait:
		l.enter(slot, halfClosed)
		if mask&(ended|epoll.In) != 0 {
			l.onHalfClosed(slot)
		}
	default:
		l.finish(slot, metrics.StageClose, metrics.Succeeded)
	}
}

// onAwaitingFIN: the server closes actively, in the way its script says.
func (l *loop) onAwaitingFIN(slot int32) {
	c := &l.conns[slot]
	n, errno := read(int(c.fd), l.buffer)
	switch how := l.Lifecycle.CloseHow; {
	case errno == unix.EAGAIN:
	case errno == unix.ECONNRESET && how == wire.RST, errno == 0 && n == 0 && how == wire.FIN:
		l.finish(slot, metrics.StageClose, metrics.Succeeded)
	case errno != 0:
		l.fail(slot, metrics.StageClose, errno)
	case l.refused(slot, n):
	default: // bytes after the response, or a FIN in place of a RST
		l.replies.ear.hear(slot, l.buffer[:n])
		l.finish(slot, metrics.StageClose, metrics.Unexpected)
	}
}

// onHalfClosed: our FIN is sent; whatever the peer still says is read and dropped.
func (l *loop) onHalfClosed(slot int32) {
	c := &l.conns[slot]
	for range readsPerEvent {
		n, errno := read(int(c.fd), l.buffer)
		switch {
		case errno == unix.EAGAIN:
			return
		case n > 0:
			continue
		}
		if c.measured && (errno == 0 || errno == unix.ECONNRESET) {
			l.hist.record(closeTime, l.clock()-c.mark)
		}
		if errno != 0 {
			l.fail(slot, metrics.StageClose, errno)
		} else {
			l.finish(slot, metrics.StageClose, metrics.Succeeded)
		}
		return
	}
	l.readLater(slot)
}

// finish is the end of every attempt: it counts the outcome, closes the socket and frees the slot.
func (l *loop) finish(slot int32, stage metrics.Stage, outcome metrics.Outcome) {
	c := &l.conns[slot]
	if outcome == metrics.Reset {
		outcome = l.beforeReset(c)
	}
	if c.fd >= 0 {
		l.noteLast(slot, stage, outcome)
		closeSocket(int(c.fd))
	}
	l.clock()
	l.settle(c)
	l.noteEnd(c, stage, outcome)
	l.clear(slot)
	l.script.rotation.done(slot)
	l.wheel.Cancel(slot)
	c.state = free
	c.generation++
	l.listed[slot] = false
	c.due = l.now
	l.slab.free = append(l.slab.free, slot)
}
