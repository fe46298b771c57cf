package experiment

import "tcpbench/internal/segment"

var aborted = []Fact{
	{"client_states", Text, "the states that the client's socket went through, in order"},
	{"server_states", Text, "the states that the server's socket went through, in order"},
	{"server_error", Text, "what the server's application got after the last byte"},
	{"sent", Number, "bytes that the client's application has sent"},
	{"received", Number, "bytes that came over the connection"},
	{"lost", Number, "bytes that were sent and will never come"},
}

// The client gives up a connection with unsent data. On loopback the RST itself is not seen, but what
// it does: the peer's socket is gone, and its application gets ECONNRESET.
var rstClose = &Experiment{
	Name:       "rst-close",
	Facts:      append([]Fact{{"resets", Number, "RSTs of the client"}}, aborted...),
	do:         abortWithData,
	onLoopback: &story{facts: aborted, do: abortWithData},
}

func abortWithData(b *bench) {
	const most = 64 << 10
	c, s := b.pair(b.listen(b.free(port), 8))
	at := c.at()
	b.act(client, "send(%d), which the server does not read", most)
	b.silent = true
	sent := 0
	b.await("all bytes in the send buffer", func() bool {
		if sent < most {
			sent += c.send(most - sent)
		}
		return sent == most && (c.asLimited() || int(b.socketAt(at.peerOf()).Receive) >= sent)
	})
	b.silent = false
	b.remark("%d bytes wait for the server's application, the others for its window", b.socketAt(at.peerOf()).Receive)
	b.act(client, "close() with SO_LINGER of zero")
	c.abort()
	b.is(at, closed)
	received, _, err := s.receive()
	if err == nil {
		err = s.ended(patience)
	}
	b.act(server, "read(): %d bytes, then %v", received, err)
	b.is(at.peerOf(), closed)
	b.said("client_states", b.path(at))
	b.said("server_states", b.path(at.peerOf()))
	if b.lab != nil {
		b.fact("resets", float64(b.count(client, func(s *segment.Segment) bool { return s.Flags&segment.RST != 0 })))
	}
	b.said("server_error", name(err))
	b.fact("sent", float64(sent))
	b.fact("received", float64(received))
	b.fact("lost", float64(sent-received))
}
