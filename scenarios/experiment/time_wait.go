package experiment

import (
	"time"

	"tcpbench/internal/lab"
)

// closeInOrder ends a connection, the client first.
func (b *bench) closeInOrder(c, s *socket) endpoint {
	at := c.at()
	c.close()
	b.is(at, "FIN_WAIT2")
	s.close()
	b.is(at, "TIME_WAIT")
	return at
}

// Two connections end under different values of tcp_fin_timeout, which many take for the
// length of TIME_WAIT.
var timeWaitLength = &Experiment{
	Name: "time-wait-length",
	Facts: []Fact{
		{"life_at_60", Time, "how long a socket was in TIME_WAIT that entered it with net.ipv4.tcp_fin_timeout = 60"},
		{"life_at_5", Time, "how long a socket was in TIME_WAIT that entered it with net.ipv4.tcp_fin_timeout = 5"},
	},
	do: func(b *bench) {
		const longest = 80 * time.Second
		l := b.listen(port, 8)
		type watch struct {
			at    endpoint
			since time.Time
			fact  string
		}
		var all []watch
		for _, timeout := range []string{"60", "5"} {
			fact := "life_at_" + timeout
			b.sysctl(client, "net.ipv4.tcp_fin_timeout", timeout)
			c, s := b.pair(l)
			b.names[c.at().local] = "tcp_fin_timeout " + timeout
			all = append(all, watch{b.closeInOrder(c, s), time.Now(), fact})
		}
		b.awaitFor(longest, "the end of TIME_WAIT", func() bool {
			for i := 0; i < len(all); i++ {
				if w := all[i]; b.state(w.at) == closed {
					b.took(w.fact, time.Since(w.since))
					all = append(all[:i], all[i+1:]...)
					i--
				}
			}
			return len(all) == 0
		})
	},
}

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
		at := c.at()
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
		restarts, last := 0, b.socketAt(at).Expires
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
		b.fact("fins", float64(b.count(server, func(s *lab.Segment) bool { return s.Flags&lab.FIN != 0 })))
		b.fact("restarts", float64(restarts))
		b.said("client_states", b.pathSince(at, "ESTABLISHED"))
		b.said("server_states", b.pathSince(at.peerOf(), "ESTABLISHED"))
	},
}

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
		data := func(s *lab.Segment) bool { return s.Length > 0 }
		held := false
		b.gate(server).Rule(func(s *lab.Segment) lab.Fate {
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
		b.step(server, "old segment", data)
		b.happens(time.Second, func() bool { return b.state(at) == closed })
		b.said("client_states", b.pathSince(at, "ESTABLISHED"))
		b.fact("resets", float64(b.count(server, func(s *lab.Segment) bool { return s.Flags&lab.RST != 0 })))
	},
}
