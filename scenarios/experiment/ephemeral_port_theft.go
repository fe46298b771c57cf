package experiment

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// Two destinations, and a small range of ports: what connections to the one leave for the other
// depends on when the port was chosen. On loopback the range is each socket's own.
var ephemeralPortTheft = &Experiment{
	Name:       "ephemeral-port-theft",
	Facts:      stolen,
	do:         stealPorts,
	onLoopback: &story{facts: stolen, do: stealPorts},
}

var stolen = []Fact{
	{"bound", Number, "sockets that got a port by bind() to an address, and were connected to one server"},
	{"others_after_bound", Number, "connections to another server that found a port then"},
	{"late", Number, "sockets that got their port at connect() to one server (IP_BIND_ADDRESS_NO_PORT)"},
	{"others_after_late", Number, "connections to another server that found a port then"},
}

func stealPorts(b *bench) {
	const tries, backlog = 5, 1<<16 - 1 // nobody accepts
	one, another := b.listen(b.free(port), backlog).local().Port(), b.listen(b.free(port+1), backlog).local().Port()
	b.silent, b.blind = true, true // there are too many to look at each
	for n := range tries {
		ports := b.localPorts()
		size := int(ports.high-ports.low) + 1
		if left := b.descriptorsLeft(); 2*size > left {
			b.check(fmt.Errorf("that takes %d sockets, and this process may open %d more: raise the limit of descriptors (ulimit -n)", 2*size, left), fmt.Sprintf("take all of %d local ports twice", size))
		}
		bound, afterBound := b.fillTwice(one, another, ports, false)
		late, afterLate := b.fillTwice(one, another, ports, true)
		if b.lab == nil && n+1 < tries && min(bound, late, afterLate) < size {
			b.remark("another program has taken one of the ports %d to %d: once more, with others", ports.low, ports.high)
			continue
		}
		b.fact("bound", float64(bound))
		b.fact("others_after_bound", float64(afterBound))
		b.fact("late", float64(late))
		b.fact("others_after_late", float64(afterLate))
		return
	}
}

// fillTwice makes connections to one port of the server until there is no local port, by bind() that
// is late or not, and then to another. It returns how many there were of each.
func (b *bench) fillTwice(one, another uint16, ports localPorts, late bool) (first, second int) {
	what := "bind() to an address, then connect()"
	if late {
		what = "the same with IP_BIND_ADDRESS_NO_PORT"
	}
	own := b.takeAll(one, ports, func(c *socket) error {
		if late {
			c.set(unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1, "IP_BIND_ADDRESS_NO_PORT")
		}
		return c.bind(0)
	})
	b.act(client, "%s to port %d: %d connections until there is no port", what, one, len(own))
	others := b.takeAll(another, ports, func(*socket) error { return nil })
	b.act(client, "connect() to port %d: %d connections until there is no port", another, len(others))
	for _, c := range slices.Concat(own, others) {
		c.abort()
	}
	return len(own), len(others)
}

// takeAll makes connections to a port of the server until there is no local port, and returns them.
func (b *bench) takeAll(to uint16, ports localPorts, prepare func(*socket) error) (all []*socket) {
	for {
		c := b.socket(client)
		ports.bound(c)
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
