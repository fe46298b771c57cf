package experiment

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"tcpbench/internal/kernel/sockdiag"
	"tcpbench/scenarios/experiment/bench"
)

// No socket listens, and yet connect() succeeds in the end: the kernel has chosen the called port as
// the local port. On loopback the range of local ports is the socket's own.
var selfConnect = &Experiment{
	Name:       "self-connect",
	Facts:      connectedToItself,
	do:         connectToItself,
	onLoopback: &story{connectedToItself, connectToItself},
}

var connectedToItself = []bench.Fact{
	number("attempts", "calls of connect() until one succeeded"),
	number("refused", "calls of connect() that were refused"),
	number("port_listeners", "listening sockets at the port that is called"),
	number("connected_to_itself", "1 if the peer's address is the socket's own"),
	receivedBytes,
}

func connectToItself(b *bench.Bench) {
	ports := chooseLocalPorts(b)
	// One in the middle, of the parity that connect() tries first (__inet_hash_connect).
	to := netip.AddrPortFrom(b.Self(), ports.low+(ports.high-ports.low)/2&^1)
	// connect() goes through the ports in small random steps: any of half of them may be next.
	most := max(2000, 10*ports.size())
	b.Act(client, "connect() to %s, where nobody listens, from a port of %d to %d, again and again", to, ports.low, ports.high)
	for refused := range most {
		c := b.Socket(client)
		ports.limit(c)
		if refuses(b, c, to) {
			c.Drop()
			continue
		}
		b.Act(client, "connect() has returned: from %s to %s", c.Local(), to)
		b.Fact("attempts", refused+1)
		b.Fact("refused", refused)
		b.Fact("port_listeners", len(b.Listeners(client, sockdiag.Ports{Low: to.Port(), High: to.Port()})))
		b.Fact("connected_to_itself", c.Local() == to)
		b.Act(client, "send(1000), and read")
		b.Fact("received", c.Transfer(1000, c))
		return
	}
	b.Fact("port_listeners", 0)
	b.Fact("connected_to_itself", false)
	b.Fact("received", 0)
	b.Remark("refused %d times of %d", most, most)
}

// refuses tells whether connect() to an address is refused.
func refuses(b *bench.Bench, c *bench.Socket, to netip.AddrPort) bool {
	err := c.ConnectTo(to) // on loopback this may return the refusal itself
	if err == nil {
		b.Await("an answer", func() (over bool) {
			over, err = c.Connected()
			return over
		})
	}
	if errors.Is(err, unix.ECONNREFUSED) {
		return true
	}
	b.Check(err, "connect")
	return false
}
