package experiment

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"golang.org/x/sys/unix"

	"tcpbench/internal/kernel/sockdiag"
)

// localPorts is a range of ports from which connect() takes.
type localPorts struct {
	low, high uint16
	own       bool // by an option of each socket, because the host's range is another
}

// narrow is how many local ports a socket may take on loopback, so that few connects show what many
// do.
const narrow = 10

// bound gives a socket the range, if it is not its host's.
func (p localPorts) bound(c *socket) {
	if p.own {
		c.ports(p.low, p.high)
	}
}

// localPorts is the client's range. On loopback it is a narrow one that no socket of this host has,
// in the upper half of the host's range: the kernel takes no other of a socket's own range.
func (b *bench) localPorts() localPorts {
	var first, last int
	_, err := fmt.Sscan(b.setting(client, "net.ipv4.ip_local_port_range"), &first, &last)
	b.check(err, "read net.ipv4.ip_local_port_range")
	if b.lab != nil {
		return localPorts{low: uint16(first), high: uint16(last)}
	}
	first += (last - first) / 2
	if last-first < 2*narrow {
		b.check(fmt.Errorf("%d to %d is too narrow: use a lab", first, last), "take ports of net.ipv4.ip_local_port_range")
	}
	const tries = 100
	for range tries {
		if low := uint16(first + rand.IntN(last-first-narrow)); b.allFree(low) {
			return localPorts{low: low, high: low + narrow - 1, own: true}
		}
	}
	b.check(fmt.Errorf("none in %d tries: use a lab", tries), "find free ports")
	return localPorts{}
}

// allFree tells whether the client can have the ports: connect() takes none at which somebody
// listens, whatever the address. Sockets in TIME_WAIT are of other addresses, and do not count:
// after a load they have every port, so that bind() to all addresses would fail.
func (b *bench) allFree(low uint16) bool {
	listening, err := b.census[client].Listeners([]sockdiag.Ports{{Low: low, High: low + narrow - 1}})
	b.check(err, "look at the client")
	if len(listening) > 0 {
		return false
	}
	for i := range uint16(narrow) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		b.check(err, "make a socket")
		defer unix.Close(fd)
		switch err := unix.Bind(fd, sockaddr(b.address(client, low+i))); {
		case errors.Is(err, unix.EADDRINUSE):
			return false
		default:
			b.check(err, "bind")
		}
	}
	return true
}
