package experiment

import (
	"time"

	"golang.org/x/sys/unix"
)

// The server closes at once when it hears of the client's FIN, and its kernel has not yet
// acknowledged that: an ACK may be delayed by 40 ms (TCP_DELACK_MIN). A machine that is slower
// gets another connection to try.
var threeWayClose = &Experiment{
	Name: "three-way-close",
	Facts: append([]Fact{
		{"attempts", Number, "connections until the server was fast enough"},
		{"closed_within", Time, "how long after the client's FIN was let through the server's close() returned"},
	}, closing...),
	do: func(b *bench) {
		const most, soonest = 100, 30 * time.Millisecond // TCP_DELACK_MIN, less a tick of the kernel's clock
		l := b.listen(port, 8)
		for n := range most {
			c, s := b.pair(l)
			at := c.at()
			b.closes(at)
			s.set(unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0, "TCP_QUICKACK")
			b.hold(client, anything)
			b.hold(server, anything)
			c.close()
			b.is(at, "FIN_WAIT1")
			b.comes(client, "FIN", fin)
			began := time.Now()
			b.step(client, "FIN", fin)
			s.close()
			within := time.Since(began)
			b.is(at.peerOf(), "LAST_ACK")
			b.comes(server, "FIN", fin)
			if b.gate(server).Holds(ack) && within >= soonest && n+1 < most {
				b.remark("the server's kernel was faster than its application: once more")
				b.release()
				continue
			}
			b.fact("attempts", float64(n+1))
			b.took("closed_within", within)
			b.step(server, "FIN", fin)
			b.is(at, "TIME_WAIT")
			b.step(client, "ACK", ack)
			b.is(at.peerOf(), closed)
			return
		}
	},
}
