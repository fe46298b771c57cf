package wire

import (
	"bytes"
	"encoding/binary"
)

// Refusal is why a server does not go on with a connection. The numbers are those on the
// wire: new ones may come, so a client must expect one that it does not know.
type Refusal uint16

// The refusals.
const (
	NoDescriptors      Refusal = 1 // the server's process has no file descriptor left
	TooManyConnections Refusal = 2 // the source address has as many as it may
	TooFast            Refusal = 3 // the source address has ordered more bytes a second than it may
	TooManyBytes       Refusal = 4 // the connection orders more bytes than it may
	TooLong            Refusal = 5 // the connection has lived for as long as it may
	TooLarge           Refusal = 6 // a request or response is larger than the server takes
)

// refused opens every refusal.
var refused = Script{Kind: Refused, Refusals: true}.Append(nil)[:4]

// Append appends the refusal to b as it stands on the wire: a header of kind Refused with
// the reason in place of the number of exchanges.
func (r Refusal) Append(b []byte) []byte {
	return Script{Kind: Refused, Refusals: true, Exchanges: uint16(r)}.Append(b)
}

// ParseRefusal finds a refusal at the end of what was read of a connection: responses may
// stand before it, and nothing comes after it. It is zero if there is none. A response
// that a tcpbench server has sent cannot end like one.
func ParseRefusal(b []byte) Refusal {
	if len(b) < HeaderSize {
		return 0
	}
	b = b[len(b)-HeaderSize:]
	if !bytes.HasPrefix(b, refused) || !zero(b[4:12]) || !zero(b[14:]) {
		return 0
	}
	return Refusal(binary.BigEndian.Uint16(b[12:]))
}

func zero(b []byte) bool {
	for _, v := range b {
		if v != 0 {
			return false
		}
	}
	return true
}
