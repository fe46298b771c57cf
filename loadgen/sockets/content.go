package sockets

import (
	"bytes"

	"tcpbench/internal/wire"
	"tcpbench/loadgen"
)

// content checks the bytes of responses against the pattern that the server was asked for. The
// zero value checks nothing.
type content struct {
	places  []uint64 // by slot: how many bytes of its connection have come; nil if nothing is checked
	checked uint64   // bytes of measured connections that were what they had to be
}

func newContent(life *loadgen.Lifecycle, slots uint64) content {
	if !life.Pattern {
		return content{}
	}
	return content{places: make([]uint64, slots)}
}

// begin: the slot has a new connection.
func (c *content) begin(slot int32) {
	if c.places != nil {
		c.places[slot] = 0
	}
}

// is tells whether the next bytes of a connection are those that belong there. A byte that is
// missing, comes twice or at another place makes all that follow wrong.
func (c *content) is(slot int32, chunk []byte, measured bool) bool {
	if c.places == nil {
		return true
	}
	for rest := chunk; len(rest) > 0; {
		want := wire.Pattern(c.places[slot], uint64(len(rest)))
		if !bytes.Equal(rest[:len(want)], want) {
			return false
		}
		c.places[slot] += uint64(len(want))
		rest = rest[len(want):]
	}
	if measured {
		c.checked += uint64(len(chunk))
	}
	return true
}
