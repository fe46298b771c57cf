package experiment

import (
	"tcpbench/internal/segment"
	"tcpbench/scenarios/experiment/bench"
)

// A segment that seemed lost, and was sent again, arrives after the connection was closed.
var timeWaitAssassination = &Experiment{
	Name: "time-wait-assassination",
	Facts: []bench.Fact{
		clientStates,
		number("resets", "RSTs of the server"),
		duration("left", "what TIME_WAIT had left when the old segment came"),
	},
	do: func(b *bench.Bench) {
		const answer = 1000
		c, s := b.Pair(b.Listen(bench.Port, 8))
		held := false
		b.Hold(server, bench.Data.With(func(*segment.Segment) bool { // only the first: what is sent again passes
			first := !held
			held = true
			return first
		}))
		b.Act(server, "send(%d)", answer)
		s.Send(answer)
		received := 0
		b.Await("data that is sent again", func() bool {
			received += c.Take()
			return received >= answer
		})
		b.Hold(client, bench.FIN)
		c.Close()
		c.Is("FIN_WAIT1")
		b.Step(client, bench.FIN)
		b.Release(client)
		c.Is("FIN_WAIT2")
		s.Close()
		s.Is(bench.Closed)
		c.Is("TIME_WAIT")
		b.Fact("left", c.Seen.Expires)
		b.Remark("the first copy of the segment arrives")
		b.Hold(server, bench.RST)
		b.Step(server, bench.Data)
		b.Step(server, bench.RST) // after that the client's kernel has processed it
		b.Fact("client_states", c.PathSince())
		b.Fact("resets", b.Count(server, bench.RST))
	},
}
