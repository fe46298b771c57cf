package experiment

import "tcpbench/scenarios/experiment/bench"

// Each segment of the close is held until the states of both ends have been read.
var fourWayClose = &Experiment{
	Name:  "four-way-close",
	Facts: closing,
	do: func(b *bench.Bench) {
		c, s := closes(b, b.Listen(bench.Port, 8))
		c.Close()
		c.Is("FIN_WAIT1")
		b.Step(client, bench.FIN)
		s.Is("CLOSE_WAIT")
		b.Step(server, bench.ACK)
		c.Is("FIN_WAIT2")
		s.Close()
		s.Is("LAST_ACK")
		b.Step(server, bench.FIN)
		c.Is("TIME_WAIT")
		b.Step(client, bench.ACK)
		s.Is(bench.Closed)
	},
}

// closes makes a connection, and lets the link hold all segments from then on. The experiment
// concludes with the facts of its end.
func closes(b *bench.Bench, l *bench.Socket) (c, s *bench.Socket) {
	c, s = b.Pair(l)
	b.Conclude = func() {
		b.Fact("client_states", c.PathSince())
		b.Fact("server_states", s.PathSince())
		b.Fact("segments", c.Distinct(bench.FIN))
	}
	b.Hold(client, bench.Any)
	b.Hold(server, bench.Any)
	return c, s
}
