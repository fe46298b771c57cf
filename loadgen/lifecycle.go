package loadgen

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"tcpbench/internal/wire"
)

// MaxMatch bounds the bytes of a response that Until.Match looks at. What goes beyond
// without a match has failed.
const MaxMatch = 64 << 10

// Lifecycle is what one connection does between connect() and its end.
type Lifecycle struct {
	// Request is sent as soon as the connection is established. Empty means that
	// the client only listens.
	Request []byte `json:"request,omitempty"`
	// Rotation, unless it is empty, are requests that are sent one after the other in place
	// of Request and Again, which have the first one's text.
	Rotation []Template `json:"rotation,omitempty"`
	// Response tells when the answer is whole.
	Response Until `json:"response"`
	// Hello comes before the first exchange and is none; nil is no hello.
	Hello *Greeting `json:"hello,omitempty"`
	// Exchanges is the number of requests, zero for one. The first is Request, each
	// further one Again; Gap lies between a response and the next request, or, with
	// Pipeline, all requests are sent at once.
	Exchanges uint32        `json:"exchanges,omitempty"`
	Again     []byte        `json:"again,omitempty"`
	Gap       time.Duration `json:"gap,omitempty"`
	// Jitter makes a gap up to that share of it shorter or longer, 0 to 1.
	Jitter   float64 `json:"jitter,omitempty"`
	Pipeline bool    `json:"pipeline,omitempty"`
	// Beat makes the exchanges a heartbeat, for as long as the connection lives.
	Beat *Heartbeat `json:"beat,omitempty"`
	// Hold keeps a connection established after its last exchange for so long before
	// it is closed.
	Hold time.Duration `json:"hold,omitempty"`
	// Keep keeps connections established until the measured time is over.
	Keep bool `json:"keep,omitempty"`
	// Pattern asks a tcpbench server for responses of a known content (wire.Pattern), and checks
	// every byte: its value and place, that none is missing and none comes twice.
	Pattern bool `json:"pattern,omitempty"`
	// ConnectOnly ends the script at ESTABLISHED: nothing is sent or awaited.
	ConnectOnly bool `json:"connect_only,omitempty"`
	// CloseBy is the side that closes actively, CloseHow the segment it uses.
	CloseBy  wire.Closer `json:"close_by"`
	CloseHow wire.How    `json:"close_how"`
	// CloseWait makes a client that closes by FIN wait, half-closed, for the end of
	// the other side, and measures how long that took.
	CloseWait bool `json:"close_wait,omitempty"`
}

// Scripted is the lifecycle that a tcpbench server's script describes.
func Scripted(s wire.Script) Lifecycle {
	request := make([]byte, wire.HeaderSize+int(s.RequestSize))
	s.Append(request[:0])
	return Lifecycle{
		Request:   request,
		Again:     request[wire.HeaderSize:], // payload is zeros
		Exchanges: uint32(s.Exchanges),
		Response:  Until{Kind: Exactly, Bytes: int64(s.ResponseSize)},
		CloseBy:   s.CloseBy,
		CloseHow:  s.CloseHow,
		Pattern:   s.Pattern,
	}
}

// Greeting is what client and server say once, before the first exchange: a password, a
// greeting that is only read, an upgrade to another protocol.
type Greeting struct {
	// Request is sent as soon as the connection is established. Empty means that the server
	// speaks first.
	Request []byte `json:"request,omitempty"`
	// Response tells when the answer is whole: AtLeast or Match.
	Response Until `json:"response"`
}

func (g *Greeting) validate() error {
	switch g.Response.Kind {
	case AtLeast:
		if g.Response.Bytes < 1 {
			return errors.New("a hello: want an answer of a byte or more")
		}
	case Match:
		if _, err := regexp.Compile(g.Response.Pattern); err != nil {
			return fmt.Errorf("end of the answer to the hello: %w", err)
		}
	default:
		return fmt.Errorf("a hello: its answer cannot end by %q, for the connection goes on", g.Response.Kind)
	}
	return nil
}

// Heartbeat is a small message again and again, by which a dead peer is noticed.
type Heartbeat struct {
	Every time.Duration `json:"every"`
	// Missed is the number of beats in a row without an answer after which the peer
	// counts as dead.
	Missed int    `json:"missed"`
	Design Design `json:"design"`
	// Aligned makes the client's beats of all connections due together, at multiples of
	// Every since the start of the run. Otherwise each connection has a random phase.
	Aligned bool `json:"aligned,omitempty"`
}

// Design says who pings, and so who notices that the other is dead.
type Design string

const (
	// ClientPings and the server answers: the client notices.
	ClientPings Design = "ping"
	// ServerListens to the client's pings and never answers: the server notices.
	ServerListens Design = "listen"
	// ServerPings and the client answers: both notice.
	ServerPings Design = "server"
)

// Beats tells whether connections have a heartbeat of that design.
func (l *Lifecycle) Beats(d Design) bool { return l.Beat != nil && l.Beat.Design == d }

// UntilKind is a way to know that a response is whole.
type UntilKind string

// The ways. Exactly is for a server that plays a script, the others for any server.
const (
	Exactly UntilKind = "exactly"
	AtLeast UntilKind = "bytes"
	PeerFIN UntilKind = "close"
	Match   UntilKind = "regexp"
)

// Until tells when a response is whole.
type Until struct {
	Kind    UntilKind `json:"kind"`
	Bytes   int64     `json:"bytes,omitempty"`
	Pattern string    `json:"pattern,omitempty"`
}

func (u Until) String() string {
	switch u.Kind {
	case AtLeast:
		return fmt.Sprintf("bytes:%d", u.Bytes)
	case Match:
		return u.Pattern
	case Exactly:
		return fmt.Sprintf("%d bytes", u.Bytes)
	}
	return string(u.Kind)
}

// mostAwaited bounds the N of bytes:N. It is 1 TiB.
const mostAwaited = 1 << 40

// ParseUntil reads bytes:N, close, or a regular expression (RE2 syntax).
func ParseUntil(text string) (Until, error) {
	if text == "close" {
		return Until{Kind: PeerFIN}, nil
	}
	if number, ok := strings.CutPrefix(text, "bytes:"); ok {
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n < 1 || n > mostAwaited {
			return Until{}, fmt.Errorf("%q: want bytes:N with N from 1 to %d", text, int64(mostAwaited))
		}
		return Until{Kind: AtLeast, Bytes: n}, nil
	}
	if text == "" {
		return Until{}, errors.New("empty: want bytes:N, close or a regular expression")
	}
	if _, err := regexp.Compile(text); err != nil {
		return Until{}, fmt.Errorf("neither bytes:N nor close nor a regular expression: %w", err)
	}
	return Until{Kind: Match, Pattern: text}, nil
}

// ParsePayload reads text with the escapes of a Go string: \r \n \t \\ \xNN and the rest.
func ParsePayload(text string) ([]byte, error) {
	var out []byte
	for rest := text; rest != ""; {
		// Anything that needs no escape in a shell stands for itself, quotes and
		// bytes that are no UTF-8 among them.
		if rest[0] != '\\' {
			out = append(out, rest[0])
			rest = rest[1:]
			continue
		}
		value, multibyte, tail, err := strconv.UnquoteChar(rest, 0)
		if err != nil {
			return nil, fmt.Errorf(`byte %d: unknown escape in %q: want \r \n \t \\ or \xNN`,
				len(text)-len(rest)+1, rest[:min(len(rest), 4)])
		}
		if multibyte {
			out = append(out, string(value)...)
		} else {
			out = append(out, byte(value))
		}
		rest = tail
	}
	return out, nil
}

func (l Lifecycle) validate() error {
	if len(l.Request) > math.MaxInt32 {
		return errors.New("the request is longer than 2 GiB")
	}
	if err := l.validateRest(); err != nil {
		return err
	}
	if err := l.validateRaw(); err != nil {
		return err
	}
	if l.ConnectOnly {
		if l.CloseBy == wire.Server {
			return errors.New("a server has no script to close by when the client only connects: close by client")
		}
		return nil
	}
	switch l.Response.Kind {
	case Exactly, AtLeast:
		if l.Response.Bytes < 0 {
			return errors.New("a response of less than no bytes")
		}
	case PeerFIN:
		if l.CloseBy == wire.Client {
			return errors.New("a response that ends with the peer's close leaves nothing for the client to close: close by server")
		}
	case Match:
		if _, err := regexp.Compile(l.Response.Pattern); err != nil {
			return fmt.Errorf("end of the response: %w", err)
		}
	default:
		return fmt.Errorf("unknown end of a response %q", l.Response.Kind)
	}
	if l.Pattern && (l.Response.Kind != Exactly || l.Beat != nil) {
		return errors.New("only the responses of a tcpbench server have a content that can be checked")
	}
	if l.CloseWait && (l.CloseBy != wire.Client || l.CloseHow != wire.FIN) {
		return errors.New("only a client that closes by FIN can wait for the other side's close")
	}
	return nil
}

// validateRest looks at what a connection does again and again.
func (l Lifecycle) validateRest() error {
	switch {
	case l.Gap < 0 || l.Hold < 0:
		return errors.New("a pause is negative")
	case l.Jitter < 0 || l.Jitter > 1:
		return errors.New("jitter is a share, 0 to 1")
	case l.Pipeline && (l.Beat != nil || l.Gap > 0 || l.Response.Kind != Exactly || l.Exchanges > math.MaxUint16):
		return errors.New("a pipeline has no pauses, no heartbeat, at most 65535 exchanges, and responses of a known size")
	case l.Exchanges > 1 && len(l.Again) == 0:
		return errors.New("a further request needs a byte by which the server knows it")
	case l.Exchanges > 1 && l.Response.Kind == PeerFIN:
		return errors.New("a server that closes behind a response leaves no further exchange")
	}
	b := l.Beat
	if b == nil {
		return nil
	}
	switch {
	case b.Every < time.Millisecond:
		return errors.New("a heartbeat: want every 1ms or more")
	case b.Missed < 1 || b.Missed > 100:
		return errors.New("a heartbeat: want 1 to 100 missed beats to make a dead peer")
	case len(l.Again) == 0 || l.ConnectOnly:
		return errors.New("a heartbeat: want a request of a byte or more")
	case l.Response.Kind == PeerFIN:
		return errors.New("a heartbeat: a server that closes after a response leaves no further beat")
	case l.Response.Kind != Exactly && b.Design != ClientPings:
		return errors.New("a heartbeat: only a tcpbench server listens or pings")
	case l.Response.Kind == Exactly && (l.Response.Bytes == 0) != (b.Design == ServerListens):
		return errors.New("a heartbeat: want a response of a byte or more, and none from a server that only listens")
	case b.Design != ClientPings && b.Design != ServerListens && b.Design != ServerPings:
		return fmt.Errorf("a heartbeat: %q is none of ping, listen, server", b.Design)
	}
	return nil
}

// validateRaw looks at what is for foreign servers alone.
func (l Lifecycle) validateRaw() error {
	if l.Hello == nil && len(l.Rotation) == 0 {
		return nil
	}
	if l.ConnectOnly || l.Response.Kind == Exactly {
		return errors.New("a hello, and requests in rotation, are for a foreign server that is asked something")
	}
	for i := range l.Rotation {
		if err := l.Rotation[i].validate(); err != nil {
			return fmt.Errorf("request %d: %w", i+1, err)
		}
	}
	if l.Hello != nil {
		return l.Hello.validate()
	}
	return nil
}
