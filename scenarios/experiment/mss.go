package experiment

import (
	"golang.org/x/sys/unix"

	"tcpbench/internal/lab"
)

// The server announces a small segment size, and both send more than fits into one.
var mss = &Experiment{
	Name:       "mss",
	onLoopback: mssOnLoopback,
	Facts: []Fact{
		{"client_mss", Number, "the MSS that the client's SYN announces, in bytes"},
		{"server_mss", Number, "the MSS that the server's SYN+ACK announces, in bytes"},
		{"largest_to_server", Number, "bytes in the largest segment to the server"},
		{"largest_to_client", Number, "bytes in the largest segment to the client"},
		{"received", Number, "bytes that came over the connection"},
		{"fragments", Number, "IP fragments that both hosts have made (Ip FragCreates)"},
	},
	do: func(b *bench) {
		const announced, each = 700, 20_000
		l := b.socket(server)
		l.set(unix.IPPROTO_TCP, unix.TCP_MAXSEG, announced, "TCP_MAXSEG")
		b.check(l.bind(port), "bind")
		b.check(unix.Listen(l.fd, 8), "listen")
		c, s := b.pair(l)
		for _, a := range b.log {
			switch {
			case a.Is(lab.SYN):
				b.fact("client_mss", float64(a.MSS))
			case a.Is(lab.SYN | lab.ACK):
				b.fact("server_mss", float64(a.MSS))
			}
		}
		b.silent = true
		b.act(client, "send(%d)", each)
		received := c.transfer(each, s)
		b.act(server, "send(%d)", each)
		received += s.transfer(each, c)
		b.note()
		var largest [2]int
		for _, a := range b.log {
			largest[a.from] = max(largest[a.from], a.Length)
		}
		b.silent = false
		b.fact("largest_to_server", float64(largest[client]))
		b.fact("largest_to_client", float64(largest[server]))
		b.remark("the largest segment to the server has %d bytes, to the client %d", largest[client], largest[server])
		b.fact("received", float64(received))
		b.fact("fragments", float64(b.fragments(client)+b.fragments(server)))
	},
}
