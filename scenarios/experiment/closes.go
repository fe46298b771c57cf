package experiment

import "tcpbench/internal/segment"

// closing are the facts of every way to end a connection.
var closing = []Fact{
	{"client_states", Text, "the states that the client's socket went through, in order"},
	{"server_states", Text, "the states that the server's socket went through, in order"},
	{"segments", Number, "different segments that were sent"},
}

var (
	fin = flags(segment.FIN | segment.ACK)
	ack = pureACK
)

// closes begins the end of a connection of the client's, and concludes with the facts of it.
func (b *bench) closes(at endpoint) {
	b.conclude = func() {
		b.said("client_states", b.pathSince(at, "ESTABLISHED"))
		b.said("server_states", b.pathSince(at.peerOf(), "ESTABLISHED"))
		b.fact("segments", float64(b.distinct(at.local, fin)))
	}
}
