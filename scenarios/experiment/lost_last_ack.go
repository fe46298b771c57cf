package experiment

import (
	"time"

	"tcpbench/scenarios/experiment/bench"
)

// The client's last ACKs are lost for a while, and the timer of its TIME_WAIT is read.
var lostLastACK = &Experiment{
	Name: "lost-last-ack",
	Facts: []bench.Fact{
		clientStates,
		serverStates,
		number("fins", "FINs of the server, retransmissions too"),
		number("restarts", "times that the timer of TIME_WAIT was seen to start anew"),
	},
	do: func(b *bench.Bench) {
		const enough = 2
		c, s := b.Pair(b.Listen(bench.Port, 8))
		restarts := 0
		b.Conclude = func() {
			b.Fact("fins", b.Count(server, bench.FIN))
			b.Fact("restarts", restarts)
			b.Fact("client_states", c.PathSince())
			b.Fact("server_states", s.PathSince())
		}
		b.Hold(client, bench.FIN)
		c.Close()
		c.Is("FIN_WAIT1")
		b.Step(client, bench.FIN)
		c.Is("FIN_WAIT2")
		s.Is("CLOSE_WAIT")
		b.Act(client, "the link loses ACKs of the client from now on")
		b.Lose(client, bench.ACK)
		s.Close()
		c.Is("TIME_WAIT")
		s.Is("LAST_ACK")
		last := c.Seen.Expires
		b.Await("FINs that are sent again", func() bool {
			left := c.Seen.Expires
			if left > last+50*time.Millisecond { // less is the kernel's rounding
				restarts++
				b.Remark("the timer of TIME_WAIT has started anew: %.1f s are left", left.Seconds())
			}
			last = left
			return restarts >= enough
		})
		b.Act(client, "the link loses nothing any more")
		b.Release(client)
		s.Is(bench.Closed)
	},
}
