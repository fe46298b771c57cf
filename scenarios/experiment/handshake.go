package experiment

import "tcpbench/scenarios/experiment/bench"

// Each of the three segments is held until the states of both ends have been read.
var handshake = &Experiment{
	Name: "handshake",
	Facts: []bench.Fact{
		clientStates,
		serverStates,
		number("connected_before_second", "1 if connect() had returned before the second segment"),
		number("connected_before_third", "1 if connect() had returned before the third segment"),
		number("accepted_before_third", "1 if accept() returned the connection before the third segment"),
		number("accepted_after_third", "1 if accept() returned the connection after the third segment"),
		distinctSegments,
	},
	do: func(b *bench.Bench) {
		l := b.Listen(bench.Port, 8)
		b.Hold(client, bench.Any)
		b.Hold(server, bench.Any)
		c := b.Socket(client)
		b.Act(client, "connect()")
		c.Connect(bench.Port)
		b.Comes(client, bench.SYN)
		c.Is("SYN_SENT")

		b.Step(client, bench.SYN)
		b.Comes(server, bench.SYNACK) // the server enters SYN_RECV before it sends that
		b.Look()
		connected, _ := c.Connected()
		b.Fact("connected_before_second", connected)

		b.Step(server, bench.SYNACK)
		c.Is("ESTABLISHED")
		b.Comes(client, bench.ACK)
		connected, _ = c.Connected()
		b.Fact("connected_before_third", connected)
		b.Saw(client, connected, "connect() has returned", "connect() has not returned")
		accepts := func(fact string) {
			_, accepted := l.Accept()
			b.Fact(fact, accepted)
			b.Saw(server, accepted, "accept() has returned", "accept() has nothing")
		}
		accepts("accepted_before_third")

		b.Step(client, bench.ACK)
		c.Peer.Is("ESTABLISHED")
		accepts("accepted_after_third")
		b.Fact("client_states", c.Path())
		b.Fact("server_states", c.Peer.Path())
		b.Fact("segments", c.Distinct(bench.Any))
	},
}
