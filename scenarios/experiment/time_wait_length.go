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
	Name:       "time-wait-length",
	onLoopback: timeWaitLengthOnLoopback,
	Facts: []Fact{
		{"life_at_60", Time, "how long a socket was in TIME_WAIT that entered it with net.ipv4.tcp_fin_timeout = 60"},
		{"life_at_5", Time, "how long a socket was in TIME_WAIT that entered it with net.ipv4.tcp_fin_timeout = 5"},
	},
	Settings: []lab.Setting{{Key: "net.ipv4.tcp_fin_timeout", Value: "60"}, {Key: "net.ipv4.tcp_fin_timeout", Value: "5"}},
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
