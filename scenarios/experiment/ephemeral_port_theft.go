package experiment

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"tcpbench/scenarios/experiment/bench"
)

// There are two destinations and a small range of ports. How many ports the connections to one leave
// for the other depends on when their ports were chosen. On loopback the range is each socket's own.
var ephemeralPortTheft = &Experiment{
	Name:       "ephemeral-port-theft",
	Facts:      stolen,
	do:         stealPorts,
	onLoopback: &story{stolen, stealPorts},
}

var stolen = []bench.Fact{
	number("bound", "sockets that got a port by bind() to an address, and were connected to one server"),
	number("others_after_bound", "connections to another server that found a port then"),
	number("late", "sockets that got their port at connect() to one server (IP_BIND_ADDRESS_NO_PORT)"),
	number("others_after_late", "connections to another server that found a port then"),
}

func stealPorts(b *bench.Bench) {
	const tries, backlog = 5, 1<<16 - 1 // the server does not accept
	one, another := b.Listen(bench.Port, backlog).Local().Port(), b.Listen(bench.Port+1, backlog).Local().Port()
	b.Silent, b.Blind = true, true
	for n := range tries {
		ports := chooseLocalPorts(b)
		size := ports.size()
		if left := b.Descriptors(); 2*size > left {
			b.Check(fmt.Errorf("that takes %d sockets, and this process may open %d more: raise the limit of descriptors (ulimit -n)", 2*size, left), fmt.Sprintf("take all of %d local ports twice", size))
		}
		bound, afterBound := fillTwice(b, one, another, ports, false)
		late, afterLate := fillTwice(b, one, another, ports, true)
		if b.Lab == nil && n+1 < tries && min(bound, late, afterLate) < size {
			b.Remark("another program has taken one of the ports %d to %d: try again with others", ports.low, ports.high)
			continue
		}
		b.Fact("bound", bound)
		b.Fact("others_after_bound", afterBound)
		b.Fact("late", late)
		b.Fact("others_after_late", afterLate)
		return
	}
}

// fillTwice makes connections to one port of the server until no local port is left, by a bind() that
// chooses the port late or not, and then to another. It returns how many there were of each.
func fillTwice(b *bench.Bench, one, another uint16, ports localPorts, late bool) (first, second int) {
	what := "bind() to an address, then connect()"
	if late {
		what = "the same with IP_BIND_ADDRESS_NO_PORT"
	}
	own := takeAll(b, one, ports, func(c *bench.Socket) error {
		if late {
			c.Set("IP_BIND_ADDRESS_NO_PORT", 1)
		}
		return c.Bind(0)
	})
	b.Act(client, "%s to port %d: %d connections until there is no port", what, one, len(own))
	others := takeAll(b, another, ports, func(*bench.Socket) error { return nil })
	b.Act(client, "connect() to port %d: %d connections until there is no port", another, len(others))
	for _, c := range slices.Concat(own, others) {
		c.Abort()
	}
	return len(own), len(others)
}

// takeAll makes connections to a port of the server until no local port is left, and returns them.
func takeAll(b *bench.Bench, to uint16, ports localPorts, prepare func(*bench.Socket) error) (all []*bench.Socket) {
	for {
		c := b.Socket(client)
		ports.limit(c)
		err := prepare(c)
		if err == nil {
			err = c.ConnectTo(b.Address(server, to))
		}
		if errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EADDRINUSE) {
			c.Drop()
			return all
		}
		b.Check(err, "connect")
		c.AwaitConnected()
		all = append(all, c)
	}
}
