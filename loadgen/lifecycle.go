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

// MaxMatch bounds the bytes of a response that Until.Match looks at. A longer response without a
// match has failed.
const MaxMatch = 64 << 10

// Lifecycle is what one connection does between connect() and its end.
type Lifecycle struct {
	// Request is sent as soon as the connection is established. If it is empty the client only
	// listens.
	Request []byte `json:"request,omitempty"`
	// Rotation, unless empty, are requests that are sent in turn in place of Request and Again,
	// which have the text of the first one.
	Rotation []Template `json:"rotation,omitempty"`
	// Response tells when the answer is complete.
	Response Until `json:"response"`
	// Hello comes before the first exchange and is none itself; nil is no hello.
	Hello *Greeting `json:"hello,omitempty"`
	// Exchanges is the number of requests, zero for one. The first is Request, each further one
	// Again. Gap lies between a response and the next request; a Pipeline sends all at once.
	Exchanges uint32        `json:"exchanges,omitempty"`
	Again     []byte        `json:"again,omitempty"`
	Gap       time.Duration `json:"gap,omitempty"`
	// Jitter makes a gap up to that share of it shorter or longer, 0 to 1.
	Jitter   float64 `json:"jitter,omitempty"`
	Pipeline bool    `json:"pipeline,omitempty"`
	// Beat makes the exchanges a heartbeat, for as long as the connection lives.
	Beat *Heartbeat `json:"beat,omitempty"`
	// Stay is how long a connection stays established after its last exchange. With StayToEnd it
	// stays until the measured time is over.
	Stay      time.Duration `json:"stay,omitempty"`
	StayToEnd bool          `json:"stay_to_end,omitempty"`
	// Pattern asks a tcpbench server for responses of a known content (wire.Pattern), and checks
	// the value and place of every byte.
	Pattern bool `json:"pattern,omitempty"`
	// ConnectOnly ends the script at ESTABLISHED: nothing is sent or awaited.
	ConnectOnly bool `json:"connect_only,omitempty"`
	// CloseBy is the side that closes actively, CloseHow the segment it uses.
	CloseBy  wire.Closer `json:"close_by"`
	CloseHow wire.How    `json:"close_how"`
	// CloseWait makes a client that closes by FIN wait, half-closed, for the FIN of the other side,
	// and measures how long that took.
	CloseWait bool `json:"close_wait,omitempty"`
}

// Scripted returns the lifecycle of a tcpbench server's script.
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

// Greeting is what client and server say once, before the first exchange: a password, a banner, an
// upgrade to another protocol.
type Greeting struct {
	// Request is sent as soon as the connection is established. If it is empty the server
	// speaks first.
	Request []byte `json:"request,omitempty"`
	// Response tells when the answer is complete: AtLeast or Match.
	Response Until `json:"response"`
}

// Heartbeat is a small message again and again, by which a dead peer is noticed.
type Heartbeat struct {
	Every time.Duration `json:"every"`
	// Missed is the number of beats in a row without an answer after which the peer
	// counts as dead.
	Missed int    `json:"missed"`
	Design Design `json:"design"`
	// Aligned makes the beats of all connections due together, at multiples of Every since the
	// start of the run. Otherwise each connection has a random phase.
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

// UntilKind is a way to know that a response is complete.
type UntilKind string

// The ways. Exactly is for a server that plays a script, the others for any server.
const (
	Exactly UntilKind = "exactly"
	AtLeast UntilKind = "bytes"
	PeerFIN UntilKind = "close"
	Match   UntilKind = "regexp"
)

// Until tells when a response is complete.
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
	switch number, bytes := strings.CutPrefix(text, "bytes:"); {
	case text == "":
		return Until{}, errors.New("empty: want bytes:N, close or a regular expression")
	case text == "close":
		return Until{Kind: PeerFIN}, nil
	case bytes:
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n < 1 || n > mostAwaited {
			return Until{}, fmt.Errorf("%q: want bytes:N with N from 1 to %d", text, int64(mostAwaited))
		}
		return Until{Kind: AtLeast, Bytes: n}, nil
	}
	if _, err := regexp.Compile(text); err != nil {
		return Until{}, fmt.Errorf("neither bytes:N nor close nor a regular expression: %w", err)
	}
	return Until{Kind: Match, Pattern: text}, nil
}

// rule says what is wrong with a configuration if it is broken.
type rule struct {
	broken bool
	says   string
}

func firstBroken(rules []rule) error {
	for _, r := range rules {
		if r.broken {
			return errors.New(r.says)
		}
	}
	return nil
}

func (l *Lifecycle) validate() error {
	foreign := l.Hello != nil || len(l.Rotation) > 0
	more := l.Exchanges > 1
	if err := firstBroken([]rule{
		{len(l.Request) > math.MaxInt32, "the request is longer than 2 GiB"},
		{l.Gap < 0 || l.Stay < 0, "a pause is negative"},
		{l.Jitter < 0 || l.Jitter > 1, "jitter is a share, 0 to 1"},
		{l.Pipeline && (l.Beat != nil || l.Gap > 0 || l.Response.Kind != Exactly || l.Exchanges > math.MaxUint16), "a pipeline has no pauses, no heartbeat, at most 65535 exchanges, and responses of a known size"},
		{more && len(l.Again) == 0, "a further request needs a byte by which the server knows it"},
		{more && l.Response.Kind == PeerFIN, "a server that closes after a response leaves no further exchange"},
		{foreign && (l.ConnectOnly || l.Response.Kind == Exactly), "a hello and requests in rotation are for a foreign server that is asked something"},
	}); err != nil {
		return err
	}
	for i := range l.Rotation {
		if err := l.Rotation[i].validate(); err != nil {
			return fmt.Errorf("request %d: %w", i+1, err)
		}
	}
	if l.Hello != nil {
		if err := l.Hello.Response.validateHello(); err != nil {
			return err
		}
	}
	if l.Beat != nil {
		if err := l.validateBeat(); err != nil {
			return err
		}
	}
	if l.ConnectOnly {
		return firstBroken([]rule{{l.CloseBy == wire.Server, "a server has no script to close by when the client only connects: close by client"}})
	}
	if err := l.Response.validate(); err != nil {
		return err
	}
	return firstBroken([]rule{
		{l.Response.Kind == PeerFIN && l.CloseBy == wire.Client, "a response that ends with the peer's close leaves nothing for the client to close: close by server"},
		{l.Pattern && (l.Response.Kind != Exactly || l.Beat != nil), "only the responses of a tcpbench server have a content that can be checked"},
		{l.CloseWait && (l.CloseBy != wire.Client || l.CloseHow != wire.FIN), "only a client that closes by FIN can wait for the other side's close"},
	})
}

func (l *Lifecycle) validateBeat() error {
	b, design := l.Beat, l.Beat.Design
	known := design == ClientPings || design == ServerListens || design == ServerPings
	err := firstBroken([]rule{
		{b.Every < time.Millisecond, "want every 1ms or more"},
		{b.Missed < 1 || b.Missed > 100, "want 1 to 100 missed beats to make a dead peer"},
		{len(l.Again) == 0 || l.ConnectOnly, "want a request of a byte or more"},
		{l.Response.Kind == PeerFIN, "a server that closes after a response leaves no further beat"},
		{l.Response.Kind != Exactly && design != ClientPings, "only a tcpbench server listens or pings"},
		{l.Response.Kind == Exactly && (l.Response.Bytes == 0) != (design == ServerListens), "want a response of a byte or more, and none from a server that only listens"},
		{!known, fmt.Sprintf("%q is none of ping, listen, server", design)},
	})
	if err != nil {
		return fmt.Errorf("a heartbeat: %w", err)
	}
	return nil
}

func (u *Until) validate() error {
	switch u.Kind {
	case Exactly, AtLeast:
		return firstBroken([]rule{{u.Bytes < 0, "a response of less than no bytes"}})
	case PeerFIN:
	case Match:
		if _, err := regexp.Compile(u.Pattern); err != nil {
			return fmt.Errorf("end of the response: %w", err)
		}
	default:
		return fmt.Errorf("unknown end of a response %q", u.Kind)
	}
	return nil
}

// validateHello refuses what does not end the answer to a hello.
func (u *Until) validateHello() error {
	if u.Kind == AtLeast && u.Bytes < 1 || u.Kind != AtLeast && u.Kind != Match {
		return fmt.Errorf("a hello: its answer cannot end by %q: want a byte or more, or a match, for the connection goes on", u)
	}
	if err := u.validate(); err != nil {
		return fmt.Errorf("a hello: %w", err)
	}
	return nil
}
