package experiment

import "tcpbench/scenarios/experiment/bench"

// Both FINs are held until both were sent.
var simultaneousClose = &Experiment{
	Name:  "simultaneous-close",
	Facts: closing,
	do: func(b *bench.Bench) {
		c, s := closes(b, b.Listen(bench.Port, 8))
		c.Close()
		s.Close()
		c.Is("FIN_WAIT1")
		s.Is("FIN_WAIT1")
		b.Comes(client, bench.FIN)
		b.Comes(server, bench.FIN)
		b.Step(client, bench.FIN)
		s.Is("CLOSING")
		b.Step(server, bench.FIN)
		c.Is("CLOSING")
		b.Step(client, bench.ACK)
		s.Is("TIME_WAIT")
		b.Step(server, bench.ACK)
		c.Is("TIME_WAIT")
	},
}
