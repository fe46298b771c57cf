package wire

import (
	"bytes"
	"encoding/binary"
)

// Refusal is why a server does not go on with a connection, as a number on the wire. A client must
// expect numbers that it does not know.
type Refusal uint16

// The refusals.
const (
	NoDescriptors      Refusal = 1 // the server has no descriptor left
	TooManyConnections Refusal = 2 // more from the source address than allowed
	TooFast            Refusal = 3 // more bytes per second to the source address than allowed
	TooManyBytes       Refusal = 4 // more bytes on the connection than allowed
	TooLong            Refusal = 5 // the connection has lasted longer than allowed
	TooLarge           Refusal = 6 // a request or response is larger than allowed
)

// refused is how every refusal begins.
var refused = Script{Kind: Refused, Refusals: true}.Append(nil)[:4]

// Append appends the refusal to b: a header of kind Refused, with the reason as the number of
// exchanges.
func (r Refusal) Append(b []byte) []byte {
	return Script{Kind: Refused, Refusals: true, Exchanges: uint16(r)}.Append(b)
}

// ParseRefusal finds a refusal at the end of what a client has read: responses may come before it, and
// nothing after it. Zero means that there is none. No response of a tcpbench server ends like one.
func ParseRefusal(b []byte) Refusal {
	if len(b) < HeaderSize {
		return 0
	}
	b = b[len(b)-HeaderSize:]
	if !bytes.HasPrefix(b, refused) || binary.BigEndian.Uint64(b[4:]) != 0 || binary.BigEndian.Uint16(b[14:]) != 0 {
		return 0
	}
	return Refusal(binary.BigEndian.Uint16(b[12:]))
}
