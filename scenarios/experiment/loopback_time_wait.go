package experiment

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// TCP_LINGER2 is net.ipv4.tcp_fin_timeout for one socket (tcp_fin_time), so the host's setting
// stays as it is. That it works is seen in FIN_WAIT_2.
var timeWaitLengthOnLoopback = &story{
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
		var all []timeWait
		for _, fact := range []string{"life_default", "life_linger2"} {
			c, s := b.pair(l)
			at := c.at()
			if fact == "life_default" {
				b.names[at.local] = "tcp_fin_timeout " + b.setting(client, "net.ipv4.tcp_fin_timeout")
			} else {
				b.names[at.local] = fmt.Sprintf("TCP_LINGER2 %d", linger2)
				c.set(unix.IPPROTO_TCP, unix.TCP_LINGER2, linger2, "TCP_LINGER2")
			}
			c.close()
			b.reaches(at, "FIN_WAIT2")
			waits, since := b.socketAt(at).Expires, time.Now()
			s.close()
			b.reaches(at, "TIME_WAIT")
			if fact == "life_linger2" {
				b.took("fin_wait_2_left", waits)
				b.took("time_wait_left", b.socketAt(at).Expires)
			}
			all = append(all, timeWait{at, since, fact})
		}
		b.outlive(all)
	},
}
