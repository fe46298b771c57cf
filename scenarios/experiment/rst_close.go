package experiment

import "tcpbench/scenarios/experiment/bench"

var aborted = []bench.Fact{
	clientStates,
	serverStates,
	text("server_error", "the error that the server's application got after the last byte"),
	sentBytes,
	receivedBytes,
	number("lost", "bytes that were sent and will never come"),
}

// The client aborts a connection with unsent data. On loopback the RST itself is not seen, but its
// effects are: the peer's socket is gone, and its application gets ECONNRESET.
var rstClose = &Experiment{
	Name:       "rst-close",
	Facts:      append([]bench.Fact{number("resets", "RSTs of the client")}, aborted...),
	do:         abortWithData,
	onLoopback: &story{aborted, abortWithData},
}

func abortWithData(b *bench.Bench) {
	const most = 64 << 10
	c, s := b.Pair(b.Listen(bench.Port, 8))
	b.Act(client, "send(%d), which the server does not read", most)
	b.Silent = true
	sent := 0
	b.Await("all bytes in the send buffer", func() bool {
		if sent < most {
			sent += c.Send(most - sent)
		}
		return sent == most && (c.WindowClosed() || int(s.Seen.Receive) >= sent)
	})
	b.Silent = false
	b.Remark("%d bytes wait for the server's application, the others for its window", s.Seen.Receive)
	b.Act(client, "close() with SO_LINGER of zero")
	c.Abort()
	c.Is(bench.Closed)
	received, _, err := s.Receive()
	if err == nil {
		err = s.Ended(bench.Patience)
	}
	b.Act(server, "read(): %d bytes, then %v", received, err)
	s.Is(bench.Closed)
	b.Fact("client_states", c.Path())
	b.Fact("server_states", s.Path())
	if b.Lab != nil {
		b.Fact("resets", b.Count(client, bench.RST))
	}
	b.Fact("server_error", bench.ErrorName(err))
	b.Fact("sent", sent)
	b.Fact("received", received)
	b.Fact("lost", sent-received)
}
