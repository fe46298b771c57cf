package experiment

import (
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/internal/machine"
)

// timeWait is an endpoint that goes through TIME_WAIT, and the fact that tells for how long.
type timeWait struct {
	at    endpoint
	since time.Time // before it can have begun
	fact  string
}

// closeInOrder ends a connection, the client first, and returns besides what its timer had left in
// FIN_WAIT_2.
func (b *bench) closeInOrder(c, s *socket, fact string) (w timeWait, waits time.Duration) {
	w = timeWait{at: c.at(), fact: fact}
	c.close()
	b.reaches(w.at, "FIN_WAIT2")
	waits, w.since = b.socketAt(w.at).Expires, time.Now()
	s.close()
	b.reaches(w.at, "TIME_WAIT")
	return w, waits
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
	Name: "time-wait-length",
	Facts: []Fact{
		{"life_at_60", Time, "how long a socket was in TIME_WAIT that entered it with net.ipv4.tcp_fin_timeout = 60"},
		{"life_at_5", Time, "how long a socket was in TIME_WAIT that entered it with net.ipv4.tcp_fin_timeout = 5"},
		stalled,
	},
	Settings: []machine.Setting{{Key: "net.ipv4.tcp_fin_timeout", Value: "60"}, {Key: "net.ipv4.tcp_fin_timeout", Value: "5"}},
	do: func(b *bench) {
		l := b.listen(port, 8)
		var all []timeWait
		for _, timeout := range []string{"60", "5"} {
			b.sysctl(client, "net.ipv4.tcp_fin_timeout", timeout)
			c, s := b.pair(l)
			b.names[c.at().local] = "tcp_fin_timeout " + timeout
			w, _ := b.closeInOrder(c, s, "life_at_"+timeout)
			all = append(all, w)
		}
		b.outlive(all)
	},
	// TCP_LINGER2 is net.ipv4.tcp_fin_timeout for one socket (tcp_fin_time), so the host's setting stays
	// as it is. That it works is seen in FIN_WAIT_2.
	onLoopback: &story{
		facts: []Fact{
			{"fin_wait_2_left", Time, "what the timer of a socket in FIN_WAIT_2 had left, with TCP_LINGER2 = 5"},
			{"time_wait_left", Time, "what the timer of that socket had left when it entered TIME_WAIT"},
			{"life_default", Time, "how long a socket was in TIME_WAIT, with the host's net.ipv4.tcp_fin_timeout"},
			{"life_linger2", Time, "how long a socket was in TIME_WAIT, with TCP_LINGER2 = 5"},
			stalled,
		},
		do: func(b *bench) {
			const linger2 = 5
			l := b.listen(0, 8)
			c, s := b.pair(l)
			b.names[c.at().local] = "tcp_fin_timeout " + b.setting(client, "net.ipv4.tcp_fin_timeout")
			usual, _ := b.closeInOrder(c, s, "life_default")
			c, s = b.pair(l)
			b.names[c.at().local] = fmt.Sprintf("TCP_LINGER2 %d", linger2)
			c.set(unix.IPPROTO_TCP, unix.TCP_LINGER2, linger2, "TCP_LINGER2")
			short, waits := b.closeInOrder(c, s, "life_linger2")
			b.took("fin_wait_2_left", waits)
			b.took("time_wait_left", b.socketAt(short.at).Expires)
			b.outlive([]timeWait{usual, short})
		},
	},
}
