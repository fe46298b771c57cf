package experiment

import (
	"time"

	"tcpbench/scenarios/experiment/bench"
)

// The server closes as soon as it has received the client's FIN. Its kernel has not acknowledged that
// yet: it may delay an ACK by 40 ms (TCP_DELACK_MIN). If this machine is slower, another connection
// is tried.
var threeWayClose = &Experiment{
	Name: "three-way-close",
	Facts: append([]bench.Fact{
		number("attempts", "connections until the server was fast enough"),
		duration("closed_within", "how long after the client's FIN was let through the server's close() returned"),
	}, closing...),
	do: func(b *bench.Bench) {
		const most, soonest = 100, 30 * time.Millisecond // TCP_DELACK_MIN, less a tick of the kernel's clock
		l := b.Listen(bench.Port, 8)
		for n := range most {
			c, s := closes(b, l)
			s.Set("TCP_QUICKACK", 0)
			c.Close()
			c.Is("FIN_WAIT1")
			b.Comes(client, bench.FIN)
			began := time.Now()
			b.Step(client, bench.FIN)
			s.Close()
			within := time.Since(began)
			s.Is("LAST_ACK")
			b.Comes(server, bench.FIN)
			if b.Holds(server, bench.ACK) && within >= soonest && n+1 < most {
				b.Remark("the server's kernel was faster than its application: another connection is tried")
				b.Release()
				continue
			}
			b.Fact("attempts", n+1)
			b.Fact("closed_within", within)
			b.Step(server, bench.FIN)
			c.Is("TIME_WAIT")
			b.Step(client, bench.ACK)
			s.Is(bench.Closed)
			return
		}
	},
}
