package experiment

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"golang.org/x/sys/unix"

	"tcpbench/internal/kernel/sockdiag"
	"tcpbench/scenarios/experiment/bench"
)

// localPorts is a range of ports from which connect() takes.
type localPorts struct {
	low, high uint16
	own       bool // it is set on each socket, because the host has another range
}

func (p localPorts) size() int { return int(p.high) - int(p.low) + 1 }

// limit gives a socket the range, if it is not its host's.
func (p localPorts) limit(c *bench.Socket) {
	if p.own {
		c.Set(bench.PortRange, int(p.high)<<16|int(p.low))
	}
}

// chooseLocalPorts returns the client's range. On loopback it is a narrow one that no socket of this
// host uses, in the upper half of the host's range: the kernel takes no port outside of that.
func chooseLocalPorts(b *bench.Bench) localPorts {
	const narrow, tries = 10, 100 // so few ports show what many do
	var first, last int
	b.Setting(client, "net.ipv4.ip_local_port_range", &first, &last)
	if b.Lab != nil {
		return localPorts{low: uint16(first), high: uint16(last)}
	}
	first += (last - first) / 2
	if last-first < 2*narrow {
		b.Check(fmt.Errorf("%d to %d is too narrow: use a lab", first, last), "take ports of net.ipv4.ip_local_port_range")
	}
	for range tries {
		low := uint16(first + rand.IntN(last-first-narrow))
		if p := (localPorts{low: low, high: low + narrow - 1, own: true}); p.free(b) {
			return p
		}
	}
	b.Check(fmt.Errorf("none in %d tries: use a lab", tries), "find free ports")
	return localPorts{}
}

// free tells whether the client can have all the ports. connect() takes no port at which somebody
// listens, whatever the address. Sockets in TIME_WAIT have other addresses and do not matter, so
// bind() is to the client's address: after a load TIME_WAIT has every port.
func (p localPorts) free(b *bench.Bench) bool {
	if len(b.Listeners(client, sockdiag.Ports{Low: p.low, High: p.high})) > 0 {
		return false
	}
	for i := range p.size() {
		s := b.Socket(client)
		defer s.Drop()
		if err := s.Bind(p.low + uint16(i)); errors.Is(err, unix.EADDRINUSE) {
			return false
		} else {
			b.Check(err, "bind")
		}
	}
	return true
}
