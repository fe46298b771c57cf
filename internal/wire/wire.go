// Package wire is all that a tcpbench client and a tcpbench server share: the
// header that opens a connection, and the words for who closes it and how.
//
// A connection tells the server its script in the first 16 bytes, so that one
// server serves every workload at once and needs no configuration to be in step
// with the client. Everything behind the header is payload: the server counts
// it and never looks into it.
//
//	 0      1      2      3      4 … 7         8 … 11         12 13      14 15
//	+------+------+------+------+-------------+--------------+----------+-------+
//	| 't'  | 'b'  | vers | play | request     | response     | exchanges| zero  |
//	+------+------+------+------+-------------+--------------+----------+-------+
//
// All numbers are big-endian. play holds the kind in its high four bits, then two
// bits each for who closes and how. request and response are payload bytes: the
// first request is the header and request bytes behind it, every further one is
// request bytes alone. docs/protocol.md is the same for readers of packets.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// HeaderSize is the length of a header in bytes.
const HeaderSize = 16

// Version is the only version of the header that this package speaks.
const Version = 1

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
	// largest payloads that the server accepts.
	HelloReply
	Listen
	Ping

	kinds
)

// Closer names the side that closes actively, and so keeps TIME_WAIT after a FIN
// (RFC 9293, section 3.6).
type Closer uint8

const (
	// Client closes once it has the last response.
	Client Closer = iota
	// Server closes once it has sent the last response.
	Server
	Both
	Never

	closers
)

// How says by which segment the closer ends the connection.
type How uint8

const (
	// FIN is the orderly close.
	FIN How = iota
	// RST is the abortive close: close() with SO_LINGER on and a linger time of
	// zero. It leaves no TIME_WAIT and may cost the peer unread data.
	RST
	// HalfClose: the client sends FIN behind its last request, and the response comes
	// to a half-closed socket.
	HalfClose

	hows
)

// Script is the content of a header: what the server is to do on this connection.
type Script struct {
	Kind     Kind
	CloseBy  Closer
	CloseHow How
	// RequestSize is the payload of each request in bytes, beside the header.
	RequestSize uint32
	// ResponseSize is the payload of each response in bytes.
	ResponseSize uint32
	// Exchanges is the number of exchanges after which the closer closes.
	// Zero means that the server answers until the client closes.
	Exchanges uint16
	Beat      time.Duration
}

// What Parse may find wrong. A server counts them apart: a foreign protocol is
// another finding than a tcpbench of another version.
var (
	ErrMagic   = errors.New("not a tcpbench header")
	ErrVersion = errors.New("unknown header version")
	ErrScript  = errors.New("impossible script")
)

// Append appends the header of s to b.
func (s Script) Append(b []byte) []byte {
	b = append(b, magic0, magic1, Version, byte(s.Kind)<<4|byte(s.CloseBy)<<2|byte(s.CloseHow))
	b = binary.BigEndian.AppendUint32(b, s.RequestSize)
	b = binary.BigEndian.AppendUint32(b, s.ResponseSize)
	b = binary.BigEndian.AppendUint16(b, s.Exchanges)
	return append(b, 0, 0)
}

// Parse reads the header at the start of b, which must hold at least HeaderSize
// bytes. It allocates nothing when the header is sound.
func Parse(b []byte) (Script, error) {
	if len(b) < HeaderSize || b[0] != magic0 || b[1] != magic1 {
		return Script{}, ErrMagic
	}
	if b[2] != Version {
		return Script{}, fmt.Errorf("%w %d, this is version %d", ErrVersion, b[2], Version)
	}
	s := Script{
		Kind:         Kind(b[3] >> 4),
		CloseBy:      Closer(b[3] >> 2 & 3),
		CloseHow:     How(b[3] & 3),
		RequestSize:  binary.BigEndian.Uint32(b[4:]),
		ResponseSize: binary.BigEndian.Uint32(b[8:]),
		Exchanges:    binary.BigEndian.Uint16(b[12:]),
	}
	switch {
	case s.Kind >= kinds:
		return Script{}, fmt.Errorf("%w: kind %d", ErrScript, s.Kind)
	case s.CloseBy >= closers:
		return Script{}, fmt.Errorf("%w: closer %d", ErrScript, s.CloseBy)
	case s.CloseHow >= hows:
		return Script{}, fmt.Errorf("%w: close %d", ErrScript, s.CloseHow)
	case s.CloseBy == Server && s.Exchanges == 0 && s.Kind == Exchange:
		return Script{}, fmt.Errorf("%w: the server closes after no exchange", ErrScript)
	case b[14] != 0 || b[15] != 0:
		return Script{}, fmt.Errorf("%w: reserved bytes set", ErrScript)
	}
	return s, nil
}
