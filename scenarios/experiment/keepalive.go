package experiment

import (
	"time"

	"tcpbench/scenarios/experiment/bench"
)

// Three connections without traffic: one peer lives, one has crashed and restarted, and one cannot be
// reached any more.
var keepalive = &Experiment{
	Name: "keepalive",
	Facts: []bench.Fact{
		duration("bound_of_detection", "net.ipv4.tcp_keepalive_time + tcp_keepalive_intvl × tcp_keepalive_probes"),
		duration("idle_before_probe", "net.ipv4.tcp_keepalive_time"),
		text("alive_state", "the last state of the connection whose peer lives"),
		number("alive_probes", "probes on the connection whose peer lives"),
		text("restarted_error", "the error that ended the connection whose peer has crashed and restarted"),
		duration("restarted_after", "how long after the last traffic that was"),
		text("unreachable_error", "the error that ended the connection whose peer cannot be reached"),
		duration("unreachable_after", "how long after the last traffic that was"),
		bench.Stalled,
	},
	do: func(b *bench.Bench) {
		setting := func(name string) (n time.Duration) {
			b.Setting(client, "net.ipv4.tcp_keepalive_"+name, (*int64)(&n))
			return n
		}
		idle := setting("time") * time.Second
		bound := idle + setting("intvl")*setting("probes")*time.Second
		b.Fact("idle_before_probe", idle)
		b.Fact("bound_of_detection", bound)
		l := b.Listen(bench.Port, 8)
		ends, peers := map[string]*bench.Socket{}, map[string]*bench.Socket{}
		made := map[string]time.Time{} // before the kernel starts its timer
		for _, name := range []string{"alive", "restarted", "unreachable"} {
			made[name] = time.Now()
			c, s := b.Pair(l)
			c.Name(name)
			c.Set("SO_KEEPALIVE", 1)
			ends[name], peers[name] = c, s
		}
		b.Act(server, "has crashed and restarted: it knows nothing of the connection restarted")
		peers["restarted"].Vanish()
		b.Act(server, "cannot be reached any more on the connection unreachable")
		b.Lose(client, bench.Any.Of(ends["unreachable"].Connection()))

		for _, name := range []string{"restarted", "unreachable"} {
			err := ends[name].Ended(bound*3/2 + 2*time.Second)
			b.Fact(name+"_error", bench.ErrorName(err))
			b.Fact(name+"_after", time.Since(made[name]))
			b.Act(client, "read() on %s: %v", name, err)
		}
		b.Fact(bench.Stalled.Name, b.Stalled())
		b.Look()
		alive := ends["alive"]
		b.Fact("alive_state", alive.State())
		b.Fact("alive_probes", b.Count(client, bench.ACK.Of(alive.Connection()))-1) // less the last ACK of the handshake
	},
}
