package experiment

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"tcpbench/metrics/kernel"
)

// narrow is how many local ports a socket may take, so that few connects show what many do.
const narrow = 10

// freePorts finds so many ports in a row that no socket of this host has, in the upper half of
// the host's range: the kernel takes no other of a socket's own range.
func (b *bench) freePorts() (low uint16) {
	var first, last int
	_, err := fmt.Sscan(b.setting(client, "net.ipv4.ip_local_port_range"), &first, &last)
	b.check(err, "read net.ipv4.ip_local_port_range")
	first += (last - first) / 2
	if last-first < 2*narrow {
		b.check(fmt.Errorf("%d to %d is too narrow: use a lab", first, last), "take ports of net.ipv4.ip_local_port_range")
	}
	const tries = 100
	for range tries {
		low := uint16(first + rand.IntN(last-first-narrow))
		if b.allFree(low) {
			return low
		}
	}
	b.check(fmt.Errorf("none in %d tries: use a lab", tries), "find free ports")
	return 0
}

// allFree tells whether the client can have the ports: connect() takes none at which somebody
// listens, whatever the address. Sockets in TIME_WAIT are of other addresses, and do not count:
// after a load they have every port, so that bind() to all addresses would fail.
func (b *bench) allFree(low uint16) bool {
	listening, err := b.census[client].Listeners([]kernel.Ports{{Low: low, High: low + narrow - 1}})
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

// The range of local ports is the socket's own (IP_LOCAL_PORT_RANGE).
var selfConnectOnLoopback = &story{
	facts: []Fact{
		{"attempts", Number, "calls of connect() until one succeeded"},
		{"refused", Number, "calls of connect() that were refused"},
		{"port_listeners", Number, "listening sockets at the port that is called"},
		{"connected_to_itself", Number, "1 if the peer's address is the socket's own"},
		{"received", Number, "bytes that came over the connection"},
	},
	do: func(b *bench) {
		const most = 2000
		low := b.freePorts()
		to := b.address(client, low+narrow/2-1)
		b.act(client, "connect() to %s, where nobody listens, from a port of %d to %d, again and again", to, low, low+narrow-1)
		refused := 0
		for n := range most {
			c := b.socket(client)
			c.ports(low, low+narrow-1)
			if b.refuses(c, to) {
				refused++
				c.drop()
				continue
			}
			b.act(client, "connect() has returned: from %s to %s", c.local(), c.peer)
			at, err := b.census[client].Listeners([]kernel.Ports{{Low: to.Port(), High: to.Port()}})
			b.check(err, "look at the client")
			b.fact("attempts", float64(n+1))
			b.fact("refused", float64(refused))
			b.fact("port_listeners", float64(len(at)))
			b.truth("connected_to_itself", c.local() == c.peer)
			b.act(client, "send(1000), and read")
			b.fact("received", float64(c.transfer(1000, c)))
			return
		}
		b.remark("refused %d times of %d", refused, most)
		b.fact("port_listeners", 0)
		b.truth("connected_to_itself", false)
		b.fact("received", 0)
	},
}

// refuses tells whether nobody answers at an address.
func (b *bench) refuses(c *socket, at netip.AddrPort) bool {
	err := c.connectTo(at)
	var over bool
	if err == nil {
		b.await("an answer", func() bool {
			over, err = c.connected()
			return over
		})
	}
	if errors.Is(err, unix.ECONNREFUSED) {
		return true
	}
	b.check(err, "connect")
	return false
}

// Each socket has the same few ports to take from (IP_LOCAL_PORT_RANGE). Other programs may take
// one of them meanwhile, which shows: then it is done once more, with other ports.
var ephemeralPortTheftOnLoopback = &story{
	facts: ephemeralPortTheftFacts,
	do: func(b *bench) {
		const tries = 5
		one, another := b.listen(0, 1000).local().Port(), b.listen(0, 1000).local().Port()
		b.silent, b.blind = true, true // there are too many to look at each
		for n := range tries {
			low := b.freePorts()
			bound, afterBound := b.fillTwice(one, another, low, false)
			late, afterLate := b.fillTwice(one, another, low, true)
			if n+1 < tries && min(bound, late, afterLate) < narrow {
				b.remark("another program has taken one of the ports %d to %d: once more, with others", low, low+narrow-1)
				continue
			}
			b.fact("bound", float64(bound))
			b.fact("others_after_bound", float64(afterBound))
			b.fact("late", float64(late))
			b.fact("others_after_late", float64(afterLate))
			return
		}
	},
}

// fillTwice makes connections to one port of the server until there is no local port, by
// bind() that is late or not, and then to another. It returns how many there were of each.
func (b *bench) fillTwice(one, another, low uint16, late bool) (first, second int) {
	what := "bind() to an address, then connect()"
	if late {
		what = "the same with IP_BIND_ADDRESS_NO_PORT"
	}
	own := b.takeAll(one, low, func(c *socket) error {
		if late {
			c.set(unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1, "IP_BIND_ADDRESS_NO_PORT")
		}
		return c.bind(0)
	})
	b.act(client, "%s to port %d: %d connections until there is no port", what, one, len(own))
	others := b.takeAll(another, low, func(*socket) error { return nil })
	b.act(client, "connect() to port %d: %d connections until there is no port", another, len(others))
	for _, c := range slices.Concat(own, others) {
		c.abort()
	}
	return len(own), len(others)
}

// takeAll makes connections to a port of the server until there is no local port of a narrow
// range, and returns them.
func (b *bench) takeAll(to, low uint16, prepare func(*socket) error) (all []*socket) {
	for {
		c := b.socket(client)
		c.ports(low, low+narrow-1)
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
