package experiment

import (
	"fmt"
	"time"

	"tcpbench/internal/segment"
)

// Three connections without traffic: one peer lives, one has crashed and come back, and of one
// nothing is heard any more.
var keepalive = &Experiment{
	Name: "keepalive",
	Facts: []Fact{
		{"bound_of_detection", Time, "net.ipv4.tcp_keepalive_time + tcp_keepalive_intvl × tcp_keepalive_probes"},
		{"idle_before_probe", Time, "net.ipv4.tcp_keepalive_time"},
		{"alive_state", Text, "the state of the connection whose peer lives, in the end"},
		{"alive_probes", Number, "probes on the connection whose peer lives"},
		{"restarted_error", Text, "how the connection ended whose peer has crashed and come back"},
		{"restarted_after", Time, "how long after the last traffic that was"},
		{"unreachable_error", Text, "how the connection ended whose peer cannot be reached"},
		{"unreachable_after", Time, "how long after the last traffic that was"},
		stalled,
	},
	do: func(b *bench) {
		idle, between, probes := b.seconds("time"), b.seconds("intvl"), b.seconds("probes")
		bound := idle + between*probes/time.Second
		b.took("idle_before_probe", idle)
		b.took("bound_of_detection", bound)
		l := b.listen(port, 8)
		ends := map[string]*socket{}
		peers := map[string]*socket{}
		made := map[string]time.Time{} // what is measured is no shorter than what the kernel's timer is
		for _, name := range []string{"alive", "restarted", "unreachable"} {
			made[name] = time.Now()
			c, s := b.pair(l)
			b.names[c.at().local] = name
			c.keepAlive()
			ends[name], peers[name] = c, s
		}
		b.act(server, "has crashed and come back: it knows nothing of the connection restarted")
		peers["restarted"].vanish()
		b.act(server, "cannot be reached any more on the connection unreachable")
		gone := ends["unreachable"].local().Port()
		b.lose(client, func(s *segment.Segment) bool { return s.Source.Port() == gone })

		limit := bound*3/2 + 2*time.Second
		err := ends["restarted"].ended(limit)
		b.said("restarted_error", name(err))
		b.took("restarted_after", time.Since(made["restarted"]))
		b.act(client, "read() on restarted: %v", err)
		err = ends["unreachable"].ended(limit)
		b.said("unreachable_error", name(err))
		b.took("unreachable_after", time.Since(made["unreachable"]))
		b.act(client, "read() on unreachable: %v", err)
		b.took(stalled.Name, b.pulse.missed())
		b.look()
		b.said("alive_state", b.state(ends["alive"].at()))
		alive := ends["alive"].local().Port()
		// The handshake's last ACK is the one that is no probe.
		b.fact("alive_probes", float64(b.count(client, func(s *segment.Segment) bool { return s.Source.Port() == alive && s.Pure() })-1))
	},
}

// seconds reads one of the settings of keepalive.
func (b *bench) seconds(name string) time.Duration {
	var n int
	_, err := fmt.Sscan(b.setting(client, "net.ipv4.tcp_keepalive_"+name), &n)
	b.check(err, "read net.ipv4.tcp_keepalive_"+name)
	return time.Duration(n) * time.Second
}
