package experiment

import (
	"tcpbench/internal/segment"
	"tcpbench/scenarios/experiment/bench"
)

// After its FIN the client still reads what the server sends.
var halfClose = &Experiment{
	Name:  "half-close",
	Facts: append([]bench.Fact{number("received_after_fin", "bytes that the client read after its own FIN")}, closing...),
	do: func(b *bench.Bench) {
		const answer = 5_000
		c, s := closes(b, b.Listen(bench.Port, 8))
		c.Shutdown()
		c.Is("FIN_WAIT1")
		b.Step(client, bench.FIN)
		s.Is("CLOSE_WAIT")
		b.Step(server, bench.ACK)
		c.Is("FIN_WAIT2")
		b.Release()
		b.Act(server, "send(%d)", answer)
		received := s.Transfer(answer, c)
		b.Fact("received_after_fin", received)
		b.Act(client, "has read %d bytes", received)
		c.Is("FIN_WAIT2")
		s.Is("CLOSE_WAIT")
		b.Hold(client, bench.ACK)
		s.Close()
		s.Is("LAST_ACK")
		c.Is("TIME_WAIT")
		var end uint32 // of the server's stream
		b.Each(server, bench.FIN, func(s *segment.Segment) { end = s.Seq + uint32(s.Length) })
		b.Step(client, bench.ACK.With(func(s *segment.Segment) bool { return s.Ack == end+1 }))
		s.Is(bench.Closed)
	},
}
