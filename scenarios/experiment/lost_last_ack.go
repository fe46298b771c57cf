package experiment

import (
	"time"

	"tcpbench/internal/segment"
)

// The client's last ACKs are lost for a while, and the timer of its TIME_WAIT is read.
var lostLastACK = &Experiment{
	Name: "lost-last-ack",
	Facts: []Fact{
		{"client_states", Text, "the states that the client's socket went through, in order"},
		{"server_states", Text, "the states that the server's socket went through, in order"},
		{"fins", Number, "FINs of the server, those sent again included"},
		{"restarts", Number, "times that the timer of TIME_WAIT was seen to start anew"},
	},
	do: func(b *bench) {
		const again = 2
		c, s := b.pair(b.listen(port, 8))
		at, restarts := c.at(), 0
		b.conclude = func() {
			b.fact("fins", float64(b.count(server, func(s *segment.Segment) bool { return s.Flags&segment.FIN != 0 })))
			b.fact("restarts", float64(restarts))
			b.said("client_states", b.pathSince(at, "ESTABLISHED"))
			b.said("server_states", b.pathSince(at.peerOf(), "ESTABLISHED"))
		}
		b.hold(client, fin)
		c.close()
		b.is(at, "FIN_WAIT1")
		b.step(client, "FIN", fin)
		b.is(at, "FIN_WAIT2")
		b.is(at.peerOf(), "CLOSE_WAIT")
		b.act(client, "the link loses ACKs of the client from now on")
		b.lose(client, pureACK)
		s.close()
		b.is(at, "TIME_WAIT")
		b.is(at.peerOf(), "LAST_ACK")
		last := b.socketAt(at).Expires
		b.await("FINs that are sent again", func() bool {
			left := b.socketAt(at).Expires
			if left > last+50*time.Millisecond { // else it is the kernel's rounding
				restarts++
				b.remark("the timer of TIME_WAIT has started anew: %.1f s are left", left.Seconds())
			}
			last = left
			return restarts >= again
		})
		b.act(client, "the link loses nothing any more")
		b.gate(client).Release()
		b.is(at.peerOf(), closed)
	},
}
