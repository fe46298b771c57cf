package experiment

import "tcpbench/scenarios/experiment/bench"

// Two hosts that know each other's port connect at once. Both SYNs are held until both were sent.
var simultaneousOpen = &Experiment{
	Name:  "simultaneous-open",
	Facts: []bench.Fact{clientStates, serverStates, number("listeners", "listening sockets"), receivedBytes},
	do: func(b *bench.Bench) {
		const left, right = bench.Port + 1, bench.Port + 2
		b.Hold(client, bench.Any)
		b.Hold(server, bench.Any)
		c, s := b.Socket(client), b.Socket(server)
		c.Set("SO_REUSEADDR", 1)
		s.Set("SO_REUSEADDR", 1)
		b.Check(c.Bind(left), "bind")
		b.Check(s.Bind(right), "bind")
		b.Act(client, "connect()")
		c.Connect(right)
		b.Act(server, "connect()")
		s.Connect(left)
		c.Is("SYN_SENT")
		s.Is("SYN_SENT")
		b.Fact("listeners", len(b.Listeners(client))+len(b.Listeners(server)))
		received := 0
		b.Conclude = func() {
			b.Fact("received", received)
			b.Fact("client_states", c.Path())
			b.Fact("server_states", s.Path())
		}

		b.Comes(client, bench.SYN)
		b.Comes(server, bench.SYN)
		b.Step(client, bench.SYN)
		s.Now("SYN_RECV")
		b.Step(server, bench.SYN)
		c.Now("SYN_RECV")
		b.Comes(client, bench.SYNACK)
		b.Comes(server, bench.SYNACK)
		b.Release()
		c.Is("ESTABLISHED")
		s.Is("ESTABLISHED")
		b.Act(client, "send(1000)")
		received = c.Transfer(1000, s)
	},
}
