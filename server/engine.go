package server

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"tcpbench/internal/epoll"
	"tcpbench/internal/wire"
)

// engine is one gnet engine with one loop: it owns its connections, its counters and a listening
// socket for each address, and shares nothing with the others. In one engine with many loops
// tune would only reach the sockets of the first.
type engine struct {
	server   *Server
	index    int
	counters counters
	greeting []byte // the answer to a hello
	ceiling  int    // connections with a descriptor from here on are refused
	bounded  bool   // Config.Bounds has any

	// Owned by the loop.
	slab   slab
	wheel  *epoll.Wheel // the timers of connections, made for the first one
	sweeps bool         // Run is looking at the wheel
	times  times

	timeout  time.Duration // of timed states; 0 = none
	pulse    *pulse
	sweeping atomic.Bool                    // Run waits for its turn on the loop
	loop     atomic.Pointer[gnet.EventLoop] // known from the first connection on
	deaf     atomic.Bool                    // accept() failed for good
	playing  atomic.Int64                   // stalled connections

	log     logger
	gnet    gnet.Engine // valid once up is closed
	bootErr error
	upOnce  sync.Once
	up      chan struct{} // closed when the loop runs, or never will
}

func newEngine(s *Server, index int) *engine {
	cfg := &s.cfg
	e := &engine{
		server:  s,
		index:   index,
		ceiling: s.ceiling,
		bounded: cfg.Bounds != Bounds{},
		timeout: max(cfg.HeaderTimeout, 0),
		pulse:   newPulse(),
		up:      make(chan struct{}),
	}
	e.log.accept = e.acceptFailed
	e.greeting = wire.Script{
		Kind:         wire.HelloReply,
		RequestSize:  cfg.MaxRequest,
		ResponseSize: cfg.MaxResponse,
		Exchanges:    wire.Version,
	}.Append(nil)
	return e
}

// serve runs the loop until the server stops it. Any other end is an error, even if gnet returns
// none.
func (e *engine) serve() error {
	defer e.upOnce.Do(func() { close(e.up) })
	urls := make([]string, len(e.server.cfg.Addrs))
	for i, addr := range e.server.cfg.Addrs {
		urls[i] = "tcp://" + addr.String()
	}
	// Threads are not locked: between two rounds gnet yields, and a locked thread yields by a futex.
	err := gnet.Rotate(e, urls,
		gnet.WithReusePort(true), gnet.WithReuseAddr(true), gnet.WithNumEventLoop(1),
		gnet.WithTicker(true), gnet.WithLogger(&e.log))
	switch {
	case err != nil:
		return fmt.Errorf("start loop %d: %w%s", e.index, err, remedy(err))
	case e.bootErr != nil:
		return fmt.Errorf("start loop %d: %w", e.index, e.bootErr)
	case e.server.running.Err() != nil:
		return nil
	}
	if cause := e.log.why(); cause != nil {
		return fmt.Errorf("loop %d ended: %w%s", e.index, cause, remedy(cause))
	}
	return fmt.Errorf("loop %d ended and gnet does not say why", e.index)
}

// stop asks the loop to end and does not wait for it.
func (e *engine) stop() {
	<-e.up
	// gnet's Stop checks every 500 ms whether the engine has ended. With a context that is over,
	// as running is now, it only asks; serve returns at the end.
	_ = e.gnet.Stop(e.server.running)
}

// OnBoot runs when the sockets listen and before the loop does.
func (e *engine) OnBoot(eng gnet.Engine) gnet.Action {
	e.gnet = eng
	for _, addr := range e.server.cfg.Addrs {
		if err := tune(eng, addr, &e.server.cfg); err != nil {
			e.bootErr = listenError(addr.String(), err)
			return gnet.Shutdown
		}
	}
	return gnet.None
}

// OnOpen gives an accepted connection its place, or refuses it.
func (e *engine) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	cn := e.slab.take()
	cn.socket = c
	c.SetContext(cn)
	if e.counters.accepted.Add(1)%acceptSample == 0 {
		if waited, ok := sinceArrival(c.Fd()); ok {
			e.times.record(&e.times.accept, waited)
		}
	}
	if e.loop.Load() == nil {
		loop := c.EventLoop()
		e.loop.Store(&loop)
	}
	if e.bounded {
		e.enter(cn)
	}
	if e.scarce(c.Fd()) {
		cn.refused = Descriptors
	}
	switch {
	case e.server.draining.Load():
		cn.finish(Shutdown)
		return nil, gnet.Close
	case cn.refused != Completed && !e.mayWait(cn):
		cn.finish(cn.refused)
		return nil, e.close(cn)
	case e.server.cfg.Echo:
		cn.state = echo
	case e.timeout > 0:
		e.beginWait(cn)
	}
	return nil, gnet.None
}

// acceptSample is the number of connections for each one that the kernel is asked about.
const acceptSample = 64

// scarce reports whether the limit of descriptors is near: the kernel hands out the lowest free
// one, so all below fd are in use, whoever uses them. A connection that accept() cannot take
// would wait without a word.
func (e *engine) scarce(fd int) bool { return fd >= e.ceiling }

// OnTraffic plays the script on what the loop has read.
func (e *engine) OnTraffic(c gnet.Conn) gnet.Action {
	cn := c.Context().(*conn)
	b, _ := c.Next(-1) // all of it: it cannot be short
	e.counters.read.Add(uint64(len(b)))
	if cn.state == echo {
		return e.reflect(cn, b)
	}
	d := cn.handle(b, &e.server.cfg)
	if e.bounded {
		d = e.order(cn, d)
	}
	if d.hello || d.exchanges > 0 {
		if action := e.answer(cn, d); action != gnet.None {
			return action
		}
	}
	switch {
	case e.timeout == 0:
	case !states[cn.state].timed:
		e.endWait(cn)
	case cn.renew:
		cn.renew = false
		e.beginWait(cn)
	}
	if d.beats > 0 && cn.state != closed {
		e.onBeats(cn, d.beats)
	}
	if cn.state == closed {
		return e.close(cn)
	}
	return gnet.None
}

// answer sends what is due, or leaves it to the connection's own goroutine.
func (e *engine) answer(cn *conn, d due) gnet.Action {
	if d.hello {
		n, err := send(cn.socket.Fd(), e.greeting)
		e.counters.written.Add(uint64(n))
		if err != nil {
			return e.lost(cn, err)
		}
	}
	n, err := cn.respond(cn.socket.Fd(), d.bytes)
	e.counters.written.Add(n)
	if err != nil {
		return e.lost(cn, err)
	}
	if n < d.bytes {
		d.bytes -= n
		return e.stall(cn, d, nil)
	}
	e.counters.exchanges.Add(d.exchanges)
	return gnet.None
}

// reflect sends back what came in.
func (e *engine) reflect(cn *conn, b []byte) gnet.Action {
	n, err := send(cn.socket.Fd(), b)
	e.counters.written.Add(uint64(n))
	if err != nil {
		return e.lost(cn, err)
	}
	if n < len(b) {
		return e.stall(cn, due{}, b[n:])
	}
	return gnet.None
}

func (e *engine) lost(cn *conn, err error) gnet.Action {
	cn.lose(lostBy(err))
	return gnet.Close
}

// close ends a connection whose script is over.
func (e *engine) close(cn *conn) gnet.Action {
	// A few hundred bytes have left with the write. More may still wait for the peer's window or
	// ours, and a RST would take their place.
	if cn.script.ResponseSize > initialWindow && e.abrupt(cn) && unsent(cn.socket.Fd()) > 0 {
		return e.stall(cn, due{}, nil)
	}
	if cn.resets() {
		resetOnClose(cn.socket.Fd())
	}
	return gnet.Close
}

// abrupt reports whether close() will send a RST although the script was played to its end.
func (e *engine) abrupt(cn *conn) bool {
	linger := e.server.cfg.Linger
	return cn.end == Completed && (cn.resets() || linger != nil && *linger == 0)
}

// initialWindow is what any peer takes at once: ten segments of 536 bytes
// (RFC 6928), rounded down.
const initialWindow = 4 << 10

// OnClose ends every connection that has not moved.
func (e *engine) OnClose(c gnet.Conn, err error) gnet.Action {
	cn := c.Context().(*conn)
	if !cn.moved {
		if err == io.EOF { // bare, so it does not come from read()
			err = pending(c.Fd())
		}
		if d := cn.leaveBy(err); d.exchanges > 0 {
			if d = e.order(cn, d); d.exchanges > 0 && e.answer(cn, d) == gnet.None {
				e.close(cn)
			}
		}
	}
	if !cn.moved { // nor by its answer to a half-close
		e.end(cn, c.Fd())
	}
	e.endBeats(cn)
	if e.wheel != nil {
		e.wheel.Cancel(cn.id)
	}
	e.slab.give(cn)
	return gnet.None
}

// end tells the client why it is refused, counts the connection, and keeps its descriptor open if
// the script says so.
func (e *engine) end(cn *conn, fd int) {
	kept := cn.end == Forgotten && e.forget(cn, fd)
	if cn.tells() {
		e.tell(cn, fd)
	}
	if !kept {
		e.depart(cn)
	}
	// Counted before it closes, so that a peer that sees the close finds it counted.
	e.counters.closed[cn.end].Add(1)
}

// leaveBy ends the connection by the error of read(). None means that gnet's loop ends, and
// closes what is open.
func (c *conn) leaveBy(err error) (d due) {
	switch {
	case err == nil:
		c.finish(Shutdown)
	case errors.Is(err, io.EOF):
		d = c.leave(wire.FIN)
	case vanished(err):
		c.finish(PeerVanished)
	default:
		c.leave(wire.RST)
	}
	return d
}

// lostBy names why a write failed. A RST is an accident here even if the script ends with one: the
// response has not gone out.
func lostBy(err error) Reason {
	if vanished(err) {
		return PeerVanished
	}
	return PeerReset
}

// stall moves a connection that does not take its response now to a goroutine of its own. gnet
// then closes only one of two descriptors of the socket.
func (e *engine) stall(cn *conn, d due, rest []byte) gnet.Action {
	fd, err := cn.socket.Dup()
	if err != nil || e.scarce(fd) {
		if err == nil {
			_ = unix.Close(fd) // the socket stays open: it has another descriptor
		}
		cn.lose(Descriptors)
		cn.script.Refusals = false // it would come in the middle of a response
		return e.close(cn)
	}
	s := &stalled{engine: e, conn: *cn, due: d, rest: rest, file: os.NewFile(uintptr(fd), ""), fd: fd}
	s.conn.link = link{}
	e.counters.stalled.Add(1)
	s.start()
	cn.moved = true
	return gnet.Close
}
