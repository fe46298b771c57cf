package experiment

import (
	"tcpbench/internal/lab"
	"tcpbench/internal/segment"
)

// A segment that was thought lost, and sent again, comes when the connection is over.
var timeWaitAssassination = &Experiment{
	Name: "time-wait-assassination",
	Facts: []Fact{
		{"client_states", Text, "the states that the client's socket went through, in order"},
		{"resets", Number, "RSTs of the server"},
		{"left", Time, "what TIME_WAIT had left when the old segment came"},
	},
	do: func(b *bench) {
		const answer = 1000
		c, s := b.pair(b.listen(port, 8))
		at := c.at()
		data := func(s *segment.Segment) bool { return s.Length > 0 }
		held := false
		b.gate(server).Rule(func(s *segment.Segment) lab.Fate {
			if data(s) && !held { // the first one: what is sent again passes
				held = true
				return lab.Hold
			}
			return lab.Pass
		})
		b.act(server, "send(%d)", answer)
		s.send(answer)
		received := 0
		b.await("data that is sent again", func() bool {
			n, _, err := c.receive()
			b.check(err, "read")
			received += n
			return received >= answer
		})
		b.hold(client, fin)
		c.close()
		b.is(at, "FIN_WAIT1")
		b.step(client, "FIN", fin)
		b.gate(client).Release()
		b.is(at, "FIN_WAIT2")
		s.close()
		b.is(at.peerOf(), closed)
		b.is(at, "TIME_WAIT")
		b.took("left", b.socketAt(at).Expires)
		b.remark("the first copy of the segment comes, which was thought lost")
		reset := func(s *segment.Segment) bool { return s.Flags&segment.RST != 0 }
		b.gate(server).Rule(func(s *segment.Segment) lab.Fate {
			if reset(s) {
				return lab.Hold
			}
			return lab.Pass
		})
		b.step(server, "old segment", data)
		b.step(server, "RST", reset) // the client's kernel has taken it when that is over
		b.said("client_states", b.pathSince(at, "ESTABLISHED"))
		b.fact("resets", float64(b.count(server, reset)))
	},
}
