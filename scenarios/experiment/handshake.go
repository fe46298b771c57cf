package experiment

import "tcpbench/internal/segment"

// Each of the three segments is held until both ends have been looked at.
var handshake = &Experiment{
	Name: "handshake",
	Facts: []Fact{
		{"client_states", Text, "the states that the client's socket went through, in order"},
		{"server_states", Text, "the states that the server's socket went through, in order"},
		{"connected_before_second", Number, "1 if connect() had returned before the second segment"},
		{"connected_before_third", Number, "1 if connect() had returned before the third segment"},
		{"accepted_before_third", Number, "1 if accept() gave the connection before the third segment"},
		{"accepted_after_third", Number, "1 if accept() gave the connection behind the third segment"},
		{"segments", Number, "different segments that were sent"},
	},
	do: func(b *bench) {
		l := b.listen(port, 8)
		b.hold(client, anything)
		b.hold(server, anything)
		c := b.socket(client)
		b.act(client, "connect()")
		b.check(c.connect(port), "connect")
		b.comes(client, "SYN", flags(segment.SYN))
		b.is(c.at(), "SYN_SENT")

		b.step(client, "SYN", flags(segment.SYN))
		b.comes(server, "SYN+ACK", flags(segment.SYN|segment.ACK)) // the server is in SYN_RECV before it sends that
		b.look()
		connected, _ := c.connected()
		b.truth("connected_before_second", connected)

		b.step(server, "SYN+ACK", flags(segment.SYN|segment.ACK))
		b.is(c.at(), "ESTABLISHED")
		b.comes(client, "ACK", pureACK)
		connected, _ = c.connected()
		b.truth("connected_before_third", connected)
		b.saw(client, connected, "connect() has returned", "connect() has not returned")
		_, accepted := l.accept()
		b.truth("accepted_before_third", accepted)
		b.saw(server, accepted, "accept() has returned", "accept() has nothing")

		b.step(client, "ACK", pureACK)
		b.is(c.at().peerOf(), "ESTABLISHED")
		_, accepted = l.accept()
		b.truth("accepted_after_third", accepted)
		b.saw(server, accepted, "accept() has returned", "accept() has nothing")
		b.said("client_states", b.path(c.at()))
		b.said("server_states", b.path(c.at().peerOf()))
		b.fact("segments", float64(b.distinct(c.at().local, anything)))
	},
}
