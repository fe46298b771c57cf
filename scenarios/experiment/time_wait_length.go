package experiment

import (
	"fmt"
	"slices"
	"time"

	"tcpbench/internal/machine"
	"tcpbench/scenarios/experiment/bench"
)

const finTimeout = "net.ipv4.tcp_fin_timeout"

// Two connections are closed under different values of tcp_fin_timeout, which many take for the
// length of TIME_WAIT. On loopback the host's setting stays: TCP_LINGER2 is tcp_fin_timeout for one
// socket (tcp_fin_time). Its timer in FIN_WAIT_2 shows that it works.
var timeWaitLength = &Experiment{
	Name: "time-wait-length",
	Facts: []bench.Fact{
		duration("life_at_60", "how long a socket was in TIME_WAIT that entered it with net.ipv4.tcp_fin_timeout = 60"),
		duration("life_at_5", "how long a socket was in TIME_WAIT that entered it with net.ipv4.tcp_fin_timeout = 5"),
		bench.Stalled,
	},
	Settings: []machine.Setting{{Key: finTimeout, Value: "60"}, {Key: finTimeout, Value: "5"}},
	do: func(b *bench.Bench) {
		l := b.Listen(bench.Port, 8)
		var all []timeWait
		for _, timeout := range []string{"60", "5"} {
			b.Sysctl(client, finTimeout, timeout)
			c, s := b.Pair(l)
			c.Name("tcp_fin_timeout " + timeout)
			all = append(all, closeInOrder(c, s, "life_at_"+timeout))
		}
		outlive(b, all)
	},
	onLoopback: &story{
		facts: []bench.Fact{
			duration("fin_wait_2_left", "what the timer of a socket in FIN_WAIT_2 had left, with TCP_LINGER2 = 5"),
			duration("time_wait_left", "what the timer of that socket had left when it entered TIME_WAIT"),
			duration("life_default", "how long a socket was in TIME_WAIT, with the host's net.ipv4.tcp_fin_timeout"),
			duration("life_linger2", "how long a socket was in TIME_WAIT, with TCP_LINGER2 = 5"),
			bench.Stalled,
		},
		do: func(b *bench.Bench) {
			const linger2 = 5
			l := b.Listen(bench.Port, 8)
			c, s := b.Pair(l)
			var timeout string
			b.Setting(client, finTimeout, &timeout)
			c.Name("tcp_fin_timeout " + timeout)
			usual := closeInOrder(c, s, "life_default")
			c, s = b.Pair(l)
			c.Name(fmt.Sprintf("TCP_LINGER2 %d", linger2))
			c.Set("TCP_LINGER2", linger2)
			short := closeInOrder(c, s, "life_linger2")
			b.Fact("fin_wait_2_left", short.before)
			b.Fact("time_wait_left", c.Seen.Expires)
			outlive(b, []timeWait{usual, short})
		},
	},
}

// timeWait is a socket in TIME_WAIT, and the fact that tells for how long.
type timeWait struct {
	*bench.Socket
	fact   string
	since  time.Time     // not after TIME_WAIT began
	before time.Duration // what its timer had left in FIN_WAIT_2
}

// closeInOrder closes a connection, the client first.
func closeInOrder(c, s *bench.Socket, fact string) timeWait {
	c.Close()
	c.Reaches("FIN_WAIT2")
	w := timeWait{Socket: c, fact: fact, since: time.Now(), before: c.Seen.Expires}
	s.Close()
	c.Reaches("TIME_WAIT")
	return w
}

// outlive waits until all of them are gone, and finds how long they were there.
func outlive(b *bench.Bench, all []timeWait) {
	b.AwaitFor(80*time.Second, "the end of TIME_WAIT", func() bool {
		all = slices.DeleteFunc(all, func(w timeWait) bool {
			if w.State() != bench.Closed {
				return false
			}
			b.Fact(w.fact, time.Since(w.since))
			return true
		})
		return len(all) == 0
	})
	b.Fact(bench.Stalled.Name, b.Stalled())
}
