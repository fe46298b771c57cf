package server

import (
	"bytes"
	"math"

	"tcpbench/internal/wire"
)

// state says what a connection waits for.
type state uint8

const (
	header state = iota
	request
	idle
	farewell
	listening
	pinging
	greeted
	echo
	closed
	nstates
)

// states is the life of a connection. A timed state ends by itself after Config.HeaderTimeout; in
// the others a connection may stay for as long as its peer does.
var states = [nstates]struct {
	name  string
	waits string
	timed bool
	next  uint16
}{
	header:   {"header", "for the 16 bytes that carry the script", true, to(request, greeted, closed)},
	request:  {"request", "for the rest of a request", true, to(request, idle, farewell, listening, pinging, closed)},
	idle:     {"idle", "for the first byte of the next request", false, to(request, closed)},
	farewell: {"farewell", "for the close that the script leaves to the client", false, to(closed)},
	// Silence ends these two: beat.go.
	listening: {"listening", "for the client's next ping", false, to(closed)},
	pinging:   {"pinging", "for the answer to a ping, or the time of the next one", false, to(closed)},
	greeted:   {"greeted", "for the close after a hello was answered", true, to(closed)},
	echo:      {"echo", "for anything, which goes back", false, to(closed)},
	closed:    {"closed", "for nothing", false, 0},
}

func to(next ...state) (set uint16) {
	for _, s := range next {
		set |= 1 << s
	}
	return set
}

// conn is the place of one connection in its script: pure arithmetic on the number of bytes
// received. It neither reads nor writes, so the event loop and the goroutine of a stalled
// connection play the same script.
type conn struct {
	script wire.Script
	state  state
	// end is why the connection ends. It counts when it has really ended.
	end Reason
	// refused is why the script will not be played, once the header says whether the client
	// understands a refusal. Completed, which is zero, means that it is not refused.
	refused Reason
	// renew asks for a new deadline: a timed wait has begun.
	renew bool
	// have counts the bytes of the header or of the current request that are here.
	have uint32
	// left counts the exchanges that the script still holds.
	left uint64
	head [wire.HeaderSize]byte

	source  *source // nil if sources are not bounded
	ordered uint64  // bytes of responses so far, if they are bounded
	place   uint64  // of the next byte in the pattern, if the script asks for one
	until   int64   // the end of its life by the engine's clock; 0 = none

	beat
	link
}

// preamble is how every header begins.
var preamble = wire.Script{}.Append(nil)[:2]

// due is what the peer has earned by the bytes of one read.
type due struct {
	hello     bool   // the answer to a hello
	exchanges uint64 // requests now whole
	bytes     uint64 // of their responses
	beats     uint64 // pings or answers to pings that are whole
}

// enter is the only writer of state. A connection is born in header or in echo.
func (c *conn) enter(next state) {
	if states[c.state].next&(1<<next) == 0 {
		panic("server: " + states[next].name + " after " + states[c.state].name)
	}
	// The first request belongs to the header: one deadline holds for both.
	c.renew = next == request && c.state != header
	c.state = next
}

// finish ends the connection. Only the first reason counts.
func (c *conn) finish(why Reason) {
	if c.state == closed {
		return
	}
	if c.refused != Completed {
		why = c.refused // whatever the client did while it waited to be told
	}
	c.end = why
	c.enter(closed)
}

// lose ends a connection that does not take its response, even if its script has ended.
func (c *conn) lose(why Reason) {
	c.finish(why)
	c.end = why
}

// handle takes the next bytes of the peer's stream. A connection that it closes still owes what due
// says.
func (c *conn) handle(b []byte, cfg *Config) (d due) {
	for len(b) > 0 {
		switch c.state {
		case header:
			b = c.onHeader(b, cfg, &d)
		case idle:
			c.enter(request)
		case request:
			b = c.onRequest(b, &d)
		case listening, pinging:
			b = c.onBeat(b, &d)
		case farewell, greeted:
			c.finish(ExcessData)
		default:
			return d
		}
	}
	return d
}

func (c *conn) onHeader(b []byte, cfg *Config, d *due) []byte {
	n := copy(c.head[c.have:], b)
	c.have += uint32(n)
	if c.have < wire.HeaderSize {
		// A foreign protocol shows before its sixteenth byte.
		if !bytes.HasPrefix(preamble, c.head[:min(c.have, uint32(len(preamble)))]) {
			c.finish(NotAHeader)
		}
		return nil
	}
	script, err := wire.Parse(c.head[:])
	if err != nil {
		c.finish(reasonOf(err))
		return nil
	}
	c.script, c.have = script, 0
	if script.Kind == wire.Hello && script.Exchanges > 1 {
		c.script.Refusals = true
	}
	switch {
	case c.refused != Completed:
		c.finish(c.refused)
	case script.Kind == wire.Hello:
		d.hello = true
		c.enter(greeted)
	case script.Kind == wire.HelloReply, script.Kind == wire.Refused:
		c.finish(ImpossibleScript) // an answer is no question
	case script.RequestSize > cfg.MaxRequest:
		c.finish(RequestTooLarge)
	case script.ResponseSize > cfg.MaxResponse:
		c.finish(ResponseTooLarge)
	case cfg.Bounds.Bytes > 0 && script.Kind == wire.Exchange && uint64(script.Exchanges)*uint64(script.ResponseSize) > cfg.Bounds.Bytes:
		c.finish(BytesExceeded)
	case script.RequestSize == 0 && script.Exchanges > 1:
		// Nothing would show that a further request has come.
		c.finish(ImpossibleScript)
	default:
		c.begin(len(b)-n, d)
	}
	return b[n:]
}

func (c *conn) begin(rest int, d *due) {
	c.left = uint64(c.script.Exchanges)
	if c.left == 0 {
		c.left = math.MaxUint64 // until the client closes
	}
	c.enter(request)
	if c.script.RequestSize == 0 {
		c.left = 1 // the header is the only request that can be recognized
		c.answer(1, d)
		c.turn(rest)
	}
}

// onRequest takes as many requests as there are bytes for: they may be pipelined, and 64 KiB hold
// many small ones. It returns the bytes after the last exchange.
func (c *conn) onRequest(b []byte, d *due) []byte {
	size := uint64(c.script.RequestSize)
	have := uint64(c.have) + uint64(len(b))
	n := min(have/size, c.left)
	if n == 0 {
		c.have = uint32(have)
		return nil
	}
	if c.script.Kind != wire.Exchange {
		return c.beginBeats(b[size-uint64(c.have):], d)
	}
	c.answer(n, d)
	rest := have - n*size // all of it is the end of b: c.have was less than size
	if c.turn(int(rest)) == request {
		c.have = uint32(rest)
		return nil
	}
	return b[len(b)-int(rest):]
}

func (c *conn) answer(n uint64, d *due) {
	c.left -= n
	if c.left == 0 && c.script.CloseHow == wire.HalfClose {
		n-- // the last one is due with the FIN
	}
	d.exchanges += n
	d.bytes += n * uint64(c.script.ResponseSize)
}

// turn decides what comes after a response; rest is the number of bytes that the peer has sent after
// the request.
func (c *conn) turn(rest int) state {
	c.have = 0
	switch {
	case c.left > 0 && rest > 0:
		c.enter(request)
	case c.left > 0:
		c.enter(idle)
	case rest == 0 && c.serverCloses():
		c.finish(Completed)
	default:
		c.enter(farewell)
	}
	return c.state
}

// leave ends the connection because the peer closed it, as the script says or not.
//
// After a half-close the last response is due: gnet closes at once on the peer's FIN, but it calls
// OnClose first, while the descriptor is open and can still be written to.
func (c *conn) leave(how wire.How) (d due) {
	switch {
	case c.state == farewell && how == wire.FIN && c.script.CloseHow == wire.HalfClose:
		d = due{exchanges: 1, bytes: uint64(c.script.ResponseSize)}
		c.finish(Completed)
	case c.state == header && c.have == 0:
		c.finish(Unused)
	case c.promised(how) && c.state == greeted:
		c.finish(Hello)
	case c.promised(how) && c.script.CloseBy == wire.Never:
		c.finish(Forgotten)
	case c.promised(how):
		c.finish(Completed)
	case how == wire.RST:
		c.finish(PeerReset)
	default:
		c.finish(PeerClosedEarly)
	}
	return d
}

// promised reports whether a close by the peer is what the script waits for here.
func (c *conn) promised(how wire.How) bool {
	switch c.state {
	case echo:
		return how == wire.FIN
	case farewell, greeted:
		return how == c.script.CloseHow
	case idle:
		return c.script.Exchanges == 0 && how == c.script.CloseHow
	case listening:
		return how == c.script.CloseHow
	case pinging:
		return true // a ping that crosses the client's FIN makes a RST of it
	}
	return false
}

// expire ends a timed wait.
func (c *conn) expire() {
	if c.state == header {
		c.finish(HeaderTimeout)
	} else {
		c.finish(RequestTimeout)
	}
}

// resets reports whether the server ends this connection by a RST.
func (c *conn) resets() bool {
	return c.end == Descriptors && !c.tells() ||
		c.end == Completed && c.serverCloses() && c.script.CloseHow == wire.RST
}

// serverCloses reports whether the script has the server close after the last response. If both
// sides close, it does not matter to the server who comes first.
func (c *conn) serverCloses() bool {
	return c.script.CloseBy == wire.Server || c.script.CloseBy == wire.Both
}
