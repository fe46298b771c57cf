package experiment

import (
	"fmt"
	"slices"
	"time"

	"tcpbench/internal/lab"
)

// timeWait is an endpoint that goes through TIME_WAIT, and the fact that tells for how long.
type timeWait struct {
	at    endpoint
	since time.Time // before it can have begun
	fact  string
}

// closeInOrder ends a connection, the client first.
func (b *bench) closeInOrder(c, s *socket, fact string) timeWait {
	w := timeWait{at: c.at(), fact: fact}
	c.close()
	b.reaches(w.at, "FIN_WAIT2")
	w.since = time.Now()
	s.close()
	b.reaches(w.at, "TIME_WAIT")
	return w
}

// reaches waits until an endpoint is in a state, or is no more.
func (b *bench) reaches(at endpoint, state string) {
	b.await(fmt.Sprintf("%s in %s", at.side, state), func() bool { now := b.state(at); return now == state || now == closed })
}

// outlive waits until all of them are closed, and tells how long they were there.
func (b *bench) outlive(all []timeWait) {
	const longest = 80 * time.Second
	b.awaitFor(longest, "the end of TIME_WAIT", func() bool {
		all = slices.DeleteFunc(all, func(w timeWait) bool {
			if b.state(w.at) != closed {
				return false
			}
			b.took(w.fact, time.Since(w.since))
			return true
		})
		return len(all) == 0
	})
	b.took(stalled.Name, b.pulse.missed())
}

// Two connections end under different values of tcp_fin_timeout, which many take for the
// length of TIME_WAIT.
var timeWaitLength = &Experiment{
	Name:       "time-wait-length",
	onLoopback: timeWaitLengthOnLoopback,
	Facts: []Fact{
		{"life_at_60", Time, "how long a socket was in TIME_WAIT that entered it with net.ipv4.tcp_fin_timeout = 60"},
		{"life_at_5", Time, "how long a socket was in TIME_WAIT that entered it with net.ipv4.tcp_fin_timeout = 5"},
		stalled,
	},
	Settings: []lab.Setting{{Key: "net.ipv4.tcp_fin_timeout", Value: "60"}, {Key: "net.ipv4.tcp_fin_timeout", Value: "5"}},
	do: func(b *bench) {
		l := b.listen(port, 8)
		var all []timeWait
		for _, timeout := range []string{"60", "5"} {
			b.sysctl(client, "net.ipv4.tcp_fin_timeout", timeout)
			c, s := b.pair(l)
			b.names[c.at().local] = "tcp_fin_timeout " + timeout
			all = append(all, b.closeInOrder(c, s, "life_at_"+timeout))
		}
		b.outlive(all)
	},
}
