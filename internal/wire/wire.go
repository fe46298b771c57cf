// Package wire is what client and server share: the header that opens a connection, and the words for
// who closes it and how.
//
// The first 16 bytes of a connection tell the server what to do on it, so one server serves all
// workloads at once without configuration. Everything after the header is payload: the server counts it
// and never reads its content.
//
//	 0      1      2      3      4 … 7         8 … 11         12 13      14 15
//	+------+------+------+------+-------------+--------------+----------+-------+
//	| 't'  | 'b'  | vers | play | request     | response     | exchanges| beat  |
//	+------+------+------+------+-------------+--------------+----------+-------+
//
// All numbers are big-endian. play is the kind in its high four bits, then two bits each for who closes
// and how. request and response are bytes of payload: the first request is the header and so many bytes,
// every other is so many bytes. beat is an interval in units of BeatUnit. See docs/protocol.md.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"
)

// HeaderSize is the length of a header in bytes.
const HeaderSize = 16

// BeatUnit is the resolution of Script.Beat, MaxBeat the longest.
const (
	BeatUnit = 10 * time.Millisecond
	MaxBeat  = math.MaxUint16 * BeatUnit
)

// Version is the highest version of the header. Version 2 is version 1 from a client that understands
// Refused; version 3 is version 2 with Script.Pattern.
const Version = 3

const magic0, magic1 = 't', 'b'

// Kind says what a header asks for.
type Kind uint8

const (
	// Exchange is a life of request-response exchanges.
	Exchange Kind = iota
	// Hello asks who is there. A tcpbench server answers with a header of kind
	// HelloReply and leaves the close to the client.
	Hello
	// HelloReply is the answer to Hello: RequestSize and ResponseSize hold the
	// largest payloads that the server accepts, Exchanges the highest version that it
	// speaks, or zero if that is 1.
	HelloReply
	// Listen is a life of pings by the client, of RequestSize bytes each, which the
	// server never answers. It reaps who is silent for Exchanges beats.
	Listen
	// Ping is a life of pings by the server, of ResponseSize bytes, which the client
	// answers by RequestSize bytes: the first as soon as the first request is whole,
	// then one each beat. The server reaps who leaves Exchanges of them unanswered
	// in a row.
	Ping
	// Refused is what a server says in place of a response that it will not send, before
	// it closes, to a client with Script.Refusals: see Refusal.
	Refused

	kinds
)

// Closer is the side that closes actively, and so has TIME_WAIT after a FIN (RFC 9293, section 3.6).
type Closer uint8

const (
	// Client closes once it has the last response.
	Client Closer = iota
	// Server closes once it has sent the last response.
	Server
	// Both close at once after the last response.
	Both
	// Never means that the server forgets to close: its socket stays in CLOSE_WAIT after the
	// client's FIN.
	Never

	closers
)

// How is the segment by which the closer ends the connection.
type How uint8

const (
	// FIN is the orderly close.
	FIN How = iota
	// RST is the abortive close: close() with SO_LINGER of zero. It leaves no TIME_WAIT, and the
	// peer may lose unread data.
	RST
	// HalfClose is the client's FIN right after its last request. The server answers that request
	// after the FIN, and then closes by FIN.
	HalfClose

	hows
)

// Script is the content of a header: what the server does on this connection.
type Script struct {
	Kind     Kind
	CloseBy  Closer
	CloseHow How
	// RequestSize is the payload of each request in bytes, without the header.
	RequestSize uint32
	// ResponseSize is the payload of each response in bytes.
	ResponseSize uint32
	// Exchanges is the number of exchanges after which the closer closes; zero means that the
	// server answers until the client closes. In Listen and Ping it is the number of beats after
	// which a silent peer is dead, at least 1.
	Exchanges uint16
	// Beat is the interval of pings in Listen and Ping, zero in all other kinds.
	Beat time.Duration
	// Refusals means that the client understands Refused: version 2. A Hello, which servers of
	// version 1 must understand, says it by its Exchanges.
	Refusals bool
	// Pattern asks for responses of Pattern instead of zeros: version 3. It needs Exchange and
	// Refusals.
	Pattern bool
}

// The errors of Parse. A server counts them apart: a foreign protocol differs from another version of
// tcpbench.
var (
	ErrMagic   = errors.New("not a tcpbench header")
	ErrVersion = errors.New("unknown header version")
	ErrScript  = errors.New("impossible script")
)

// Append appends the header of s to b. It rounds Beat up to a unit, so no peer is reaped too soon, and
// bounds it by MaxBeat.
func (s Script) Append(b []byte) []byte {
	version := byte(1)
	switch {
	case s.Pattern:
		version = 3
	case s.Refusals:
		version = 2
	}
	b = append(b, magic0, magic1, version, byte(s.Kind)<<4|byte(s.CloseBy)<<2|byte(s.CloseHow))
	b = binary.BigEndian.AppendUint32(b, s.RequestSize)
	b = binary.BigEndian.AppendUint32(b, s.ResponseSize)
	b = binary.BigEndian.AppendUint16(b, s.Exchanges)
	beat := (min(max(s.Beat, 0), MaxBeat) + BeatUnit - 1) / BeatUnit
	return binary.BigEndian.AppendUint16(b, uint16(beat))
}

// Parse reads the header at the start of b, of at least HeaderSize bytes. It allocates nothing unless it
// fails.
func Parse(b []byte) (Script, error) {
	if len(b) < HeaderSize || b[0] != magic0 || b[1] != magic1 {
		return Script{}, ErrMagic
	}
	if b[2] < 1 || b[2] > Version {
		return Script{}, fmt.Errorf("%w %d, this is version %d", ErrVersion, b[2], Version)
	}
	s := Script{
		Kind:         Kind(b[3] >> 4),
		CloseBy:      Closer(b[3] >> 2 & 3),
		CloseHow:     How(b[3] & 3),
		RequestSize:  binary.BigEndian.Uint32(b[4:]),
		ResponseSize: binary.BigEndian.Uint32(b[8:]),
		Exchanges:    binary.BigEndian.Uint16(b[12:]),
		Beat:         time.Duration(binary.BigEndian.Uint16(b[14:])) * BeatUnit,
		Refusals:     b[2] >= 2,
		Pattern:      b[2] >= 3,
	}
	if err := s.check(); err != nil {
		return Script{}, err
	}
	return s, nil
}

// check refuses contradictions.
func (s *Script) check() error {
	beats := s.Kind == Listen || s.Kind == Ping
	switch {
	case s.Kind >= kinds:
		return fmt.Errorf("%w: kind %d", ErrScript, s.Kind)
	case s.Kind == Refused && !s.Refusals:
		return fmt.Errorf("%w: a refusal of version 1", ErrScript)
	case s.Pattern && s.Kind != Exchange:
		return fmt.Errorf("%w: a pattern without exchanges", ErrScript)
	case s.CloseHow >= hows:
		return fmt.Errorf("%w: close %d", ErrScript, s.CloseHow)
	case beats && (s.Beat == 0 || s.Exchanges == 0):
		return fmt.Errorf("%w: pings without a beat or a limit", ErrScript)
	case !beats && s.Beat != 0:
		return fmt.Errorf("%w: a beat without pings", ErrScript)
	case s.Kind == Listen && s.ResponseSize != 0:
		return fmt.Errorf("%w: a listener that responds", ErrScript)
	case beats && s.RequestSize == 0, s.Kind == Ping && s.ResponseSize == 0:
		return fmt.Errorf("%w: a ping or an answer of no bytes", ErrScript)
	case beats && (s.CloseBy != Client || s.CloseHow == HalfClose):
		return fmt.Errorf("%w: pings are closed by the client, by FIN or RST", ErrScript)
	case s.Kind != Exchange:
		return nil
	case (s.CloseBy == Server || s.CloseBy == Both) && s.Exchanges == 0:
		return fmt.Errorf("%w: the server closes after no exchange", ErrScript)
	case s.CloseBy == Never && s.CloseHow != FIN:
		return fmt.Errorf("%w: only a FIN can be left without an answer", ErrScript)
	case s.CloseHow == HalfClose && (s.CloseBy != Client || s.Exchanges == 0):
		return fmt.Errorf("%w: a half-close needs a client and a last request", ErrScript)
	}
	return nil
}
