package experiment

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"tcpbench/internal/kernel/sockdiag"
)

// Nobody listens, and yet a connect() succeeds in the end: the kernel has chosen the very port that
// is called. On loopback the range of local ports is the socket's own.
var selfConnect = &Experiment{
	Name:       "self-connect",
	Facts:      connectedToItself,
	do:         connectToItself,
	onLoopback: &story{facts: connectedToItself, do: connectToItself},
}

var connectedToItself = []Fact{
	{"attempts", Number, "calls of connect() until one succeeded"},
	{"refused", Number, "calls of connect() that were refused"},
	{"port_listeners", Number, "listening sockets at the port that is called"},
	{"connected_to_itself", Number, "1 if the peer's address is the socket's own"},
	{"received", Number, "bytes that came over the connection"},
}

func connectToItself(b *bench) {
	ports := b.localPorts()
	// One in the middle, of the parity that connect() tries first (__inet_hash_connect).
	to := netip.AddrPortFrom(b.loopback(), ports.low+(ports.high-ports.low)/2&^1)
	// connect() goes through the ports in small random steps: of half of them any one may be next.
	most := max(2000, 10*(int(ports.high-ports.low)+1))
	b.act(client, "connect() to %s, where nobody listens, from a port of %d to %d, again and again", to, ports.low, ports.high)
	for refused := range most {
		c := b.socket(client)
		ports.bound(c)
		if b.refuses(c, to) {
			c.drop()
			continue
		}
		b.act(client, "connect() has returned: from %s to %s", c.local(), c.peer)
		at, err := b.census[client].Listeners([]sockdiag.Ports{{Low: to.Port(), High: to.Port()}})
		b.check(err, "look at the client")
		b.fact("attempts", float64(refused+1))
		b.fact("refused", float64(refused))
		b.fact("port_listeners", float64(len(at)))
		b.truth("connected_to_itself", c.local() == c.peer)
		b.act(client, "send(1000), and read")
		b.fact("received", float64(c.transfer(1000, c)))
		return
	}
	b.fact("port_listeners", 0)
	b.truth("connected_to_itself", false)
	b.fact("received", 0)
	b.remark("refused %d times of %d", most, most)
}

// refuses tells whether nobody answers at an address.
func (b *bench) refuses(c *socket, at netip.AddrPort) bool {
	err := c.connectTo(at)
	var over bool
	if err == nil { // on loopback a refusal may be the answer of connect() itself
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
