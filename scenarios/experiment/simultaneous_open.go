package experiment

import "tcpbench/internal/segment"

// Two hosts that know each other's port connect at once. Both SYNs are held until both are on
// their way.
var simultaneousOpen = &Experiment{
	Name: "simultaneous-open",
	Facts: []Fact{
		{"client_states", Text, "the states that the client's socket went through, in order"},
		{"server_states", Text, "the states that the server's socket went through, in order"},
		{"listeners", Number, "listening sockets"},
		{"received", Number, "bytes that came over the connection"},
	},
	do: func(b *bench) {
		const left, right = port + 1, port + 2
		b.hold(client, anything)
		b.hold(server, anything)
		c, s := b.socket(client), b.socket(server)
		b.check(c.bind(left), "bind")
		b.check(s.bind(right), "bind")
		b.act(client, "connect()")
		b.check(c.connect(right), "connect")
		b.act(server, "connect()")
		b.check(s.connect(left), "connect")
		b.is(c.at(), "SYN_SENT")
		b.is(s.at(), "SYN_SENT")
		b.fact("listeners", float64(b.listeners()))
		received := 0
		b.conclude = func() {
			b.fact("received", float64(received))
			b.said("client_states", b.path(c.at()))
			b.said("server_states", b.path(s.at()))
		}

		b.comes(client, "SYN", flags(segment.SYN))
		b.comes(server, "SYN", flags(segment.SYN))
		b.step(client, "SYN", flags(segment.SYN))
		b.now(s.at(), "SYN_RECV")
		b.step(server, "SYN", flags(segment.SYN))
		b.now(c.at(), "SYN_RECV")
		b.comes(client, "SYN+ACK", flags(segment.SYN|segment.ACK))
		b.comes(server, "SYN+ACK", flags(segment.SYN|segment.ACK))
		b.release()
		b.is(c.at(), "ESTABLISHED")
		b.is(s.at(), "ESTABLISHED")
		b.act(client, "send(1000)")
		received = c.transfer(1000, s)
	},
}
