package experiment

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Nobody listens, and yet a connect() succeeds in the end: the kernel has chosen the very port
// that is called.
var selfConnect = &Experiment{
	Name:       "self-connect",
	onLoopback: selfConnectOnLoopback,
	Facts: []Fact{
		{"attempts", Number, "calls of connect() until one succeeded"},
		{"refused", Number, "calls of connect() that were refused"},
		{"listeners", Number, "listening sockets"},
		{"connected_to_itself", Number, "1 if the peer's address is the socket's own"},
		{"received", Number, "bytes that came over the connection"},
	},
	do: func(b *bench) {
		const most = 2000
		to := netip.AddrPortFrom(b.loopback(), port+54)
		b.act(client, "connect() to %s, where nobody listens, again and again", to)
		refused := 0
		for n := range most {
			c := b.socket(client)
			err := c.connectTo(to)
			var over bool
			if err == nil { // on loopback a refusal may be the answer of connect() itself
				b.await("an answer", func() bool {
					over, err = c.connected()
					return over
				})
			}
			if errors.Is(err, unix.ECONNREFUSED) {
				refused++
				c.drop()
				continue
			}
			b.check(err, "connect")
			b.act(client, "connect() has returned: from %s to %s", c.local(), c.peer)
			b.fact("attempts", float64(n+1))
			b.fact("refused", float64(refused))
			b.fact("listeners", float64(b.listeners()))
			b.truth("connected_to_itself", c.local() == c.peer)
			b.act(client, "send(1000), and read")
			b.fact("received", float64(c.transfer(1000, c)))
			return
		}
		b.remark("refused %d times of %d", refused, most)
		b.fact("listeners", float64(b.listeners()))
		b.truth("connected_to_itself", false)
		b.fact("received", 0)
	},
}
