package wire

import "math"

// roomUnit is the resolution of the room that a HelloReply tells.
const roomUnit = 16

// Room is what a HelloReply has in Exchanges: for how many connections at a time the server
// has descriptors, in units of 16 and rounded up. The most that it can tell stands for all
// that is more.
func Room(connections int) uint16 {
	return uint16(min((max(connections, 0)+roomUnit-1)/roomUnit, math.MaxUint16))
}

// Connections is the number of connections that a room has place for. It is zero where none
// was told, as by a server of an earlier version, or where there is place for all.
func Connections(room uint16) int {
	if room == math.MaxUint16 {
		return 0
	}
	return int(room) * roomUnit
}
