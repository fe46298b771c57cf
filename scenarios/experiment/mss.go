package experiment

import (
	"golang.org/x/sys/unix"

	"tcpbench/internal/segment"
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
			case a.Is(segment.SYN):
				b.fact("client_mss", float64(a.MSS))
			case a.Is(segment.SYN | segment.ACK):
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

// The announcements are what each end's kernel says of itself, and the size of segments is
// what the other end has received: bytes by segments.
var mssOnLoopback = &story{
	facts: []Fact{
		{"client_mss", Number, "the MSS that the client announces, in bytes (tcpi_advmss, and 12 where timestamps are used)"},
		{"server_mss", Number, "the MSS that the server announces, in bytes (tcpi_advmss, and 12 where timestamps are used)"},
		{"client_send_mss", Number, "bytes that the client puts into a segment at the most (tcpi_snd_mss)"},
		{"server_send_mss", Number, "bytes that the server puts into a segment at the most (tcpi_snd_mss)"},
		{"mean_to_server", Number, "bytes in a segment to the server, on average (the server's tcpi_bytes_received by tcpi_data_segs_in)"},
		{"mean_to_client", Number, "bytes in a segment to the client, on average"},
		{"received", Number, "bytes that came over the connection"},
	},
	do: func(b *bench) {
		const each = 20_000
		c, s := b.pair(b.listen(0, 8))
		b.act(client, "send(%d)", each)
		received := c.transfer(each, s)
		b.act(server, "send(%d)", each)
		received += s.transfer(each, c)
		own, peer := c.info(), s.info()
		mean := func(i *unix.TCPInfo) float64 { return float64(i.Bytes_received) / float64(max(1, i.Data_segs_in)) }
		b.remark("the client announces %d and sends up to %d in a segment; the server announces %d and sends up to %d", announced(own), own.Snd_mss, announced(peer), peer.Snd_mss)
		b.remark("%d bytes came to the server in %d segments, %d to the client in %d", peer.Bytes_received, peer.Data_segs_in, own.Bytes_received, own.Data_segs_in)
		b.fact("client_mss", float64(announced(own)))
		b.fact("server_mss", float64(announced(peer)))
		b.fact("client_send_mss", float64(own.Snd_mss))
		b.fact("server_send_mss", float64(peer.Snd_mss))
		b.fact("mean_to_server", mean(peer))
		b.fact("mean_to_client", mean(own))
		b.fact("received", float64(received))
	},
}

// announced is the MSS that an end has announced. The kernel takes the option for timestamps
// off when the connection is made (tcp_rcv_state_process).
func announced(i *unix.TCPInfo) uint32 {
	const timestamps, size = 1, 12 // TCPI_OPT_TIMESTAMPS, TCPOLEN_TSTAMP_ALIGNED
	if i.Options&timestamps != 0 {
		return i.Advmss + size
	}
	return i.Advmss
}
