package experiment

import (
	"errors"

	"golang.org/x/sys/unix"
)

var ephemeralPortTheftFacts = []Fact{
	{"bound", Number, "sockets that got a port by bind() to an address, and were connected to one server"},
	{"others_after_bound", Number, "connections to another server that found a port then"},
	{"late", Number, "sockets that got their port at connect() to one server (IP_BIND_ADDRESS_NO_PORT)"},
	{"others_after_late", Number, "connections to another server that found a port then"},
}

// Two destinations, and a small range of ports: what connections to the one leave for the
// other depends on when the port was chosen.
var ephemeralPortTheft = &Experiment{
	Name:       "ephemeral-port-theft",
	onLoopback: ephemeralPortTheftOnLoopback,
	Facts:      ephemeralPortTheftFacts,

	do: func(b *bench) {
		const another = port + 1
		b.listen(port, 1000)
		b.listen(another, 1000)
		b.silent, b.blind = true, true // there are too many to look at each
		// fill makes connections until there is no port, and tells how many there are.
		fill := func(to uint16, prepare func(*socket) error) (all []*socket) {
			for {
				c := b.socket(client)
				err := prepare(c)
				if err == nil {
					err = c.connect(to)
				}
				if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EADDRINUSE) {
					c.drop()
					return all
				}
				b.check(err, "connect")
				c.awaitConnection()
				all = append(all, c)
			}
		}
		nothing := func(*socket) error { return nil }
		for _, way := range []struct {
			what, fact, others string
			prepare            func(*socket) error
		}{
			{"bind() to an address, then connect()", "bound", "others_after_bound", func(c *socket) error { return c.bind(0) }},
			{"the same with IP_BIND_ADDRESS_NO_PORT", "late", "others_after_late", func(c *socket) error {
				c.set(unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1, "IP_BIND_ADDRESS_NO_PORT")
				return c.bind(0)
			}},
		} {
			first := fill(port, way.prepare)
			b.act(client, "%s to port %d: %d connections until there is no port", way.what, port, len(first))
			second := fill(another, nothing)
			b.act(client, "connect() to port %d: %d connections until there is no port", another, len(second))
			b.fact(way.fact, float64(len(first)))
			b.fact(way.others, float64(len(second)))
			for _, c := range append(first, second...) {
				c.abort()
			}
		}
	},
}
