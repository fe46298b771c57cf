package experiment

import (
	"golang.org/x/sys/unix"

	"tcpbench/internal/segment"
	"tcpbench/scenarios/experiment/bench"
)

// The server announces a small segment size, and both send more than fits into one segment.
//
// On loopback each end's kernel tells what it announces, and the size of segments is what the other
// end has received: bytes per segment. The file sets the server's TCP_MAXSEG there.
var mss = &Experiment{
	Name: "mss",
	Facts: []bench.Fact{
		number("client_mss", "the MSS that the client's SYN announces, in bytes"),
		number("server_mss", "the MSS that the server's SYN+ACK announces, in bytes"),
		number("largest_to_server", "bytes in the largest segment to the server"),
		number("largest_to_client", "bytes in the largest segment to the client"),
		receivedBytes,
		number("fragments", "IP fragments that both hosts have made (Ip FragCreates)"),
	},
	do: func(b *bench.Bench) {
		l := b.Socket(server)
		l.Set("TCP_MAXSEG", 700)
		l.ListenAt(b.Address(server, bench.Port), 8)
		c, s := b.Pair(l)
		b.Each(client, bench.SYN, func(s *segment.Segment) { b.Fact("client_mss", s.MSS) })
		b.Each(server, bench.SYNACK, func(s *segment.Segment) { b.Fact("server_mss", s.MSS) })
		b.Silent = true
		received := sendBoth(b, c, s)
		var largest [2]int
		for from := range largest {
			b.Each(bench.Side(from), bench.Data, func(s *segment.Segment) { largest[from] = max(largest[from], s.Length) })
		}
		b.Silent = false
		b.Fact("largest_to_server", largest[client])
		b.Fact("largest_to_client", largest[server])
		b.Remark("the largest segment to the server has %d bytes, to the client %d", largest[client], largest[server])
		b.Fact("received", received)
		b.Fact("fragments", b.Fragments(client)+b.Fragments(server))
	},
	onLoopback: &story{
		facts: []bench.Fact{
			number("client_mss", "the MSS that the client announces, in bytes (tcpi_advmss, and 12 if timestamps are used)"),
			number("server_mss", "the MSS that the server announces, in bytes (tcpi_advmss, and 12 if timestamps are used)"),
			number("client_send_mss", "most bytes that the client puts into a segment (tcpi_snd_mss)"),
			number("server_send_mss", "most bytes that the server puts into a segment (tcpi_snd_mss)"),
			number("mean_to_server", "bytes in a segment to the server, on average (the server's tcpi_bytes_received by tcpi_data_segs_in)"),
			number("mean_to_client", "bytes in a segment to the client, on average"),
			receivedBytes,
		},
		do: func(b *bench.Bench) {
			c, s := b.Pair(b.Listen(bench.Port, 8))
			received := sendBoth(b, c, s)
			own, peer := c.Info(), s.Info()
			b.Remark("the client announces %d and sends up to %d in a segment; the server announces %d and sends up to %d", announced(own), own.Snd_mss, announced(peer), peer.Snd_mss)
			b.Remark("%d bytes came to the server in %d segments, %d to the client in %d", peer.Bytes_received, peer.Data_segs_in, own.Bytes_received, own.Data_segs_in)
			for _, end := range []struct {
				name string
				*unix.TCPInfo
			}{{"client", own}, {"server", peer}} {
				b.Fact(end.name+"_mss", announced(end.TCPInfo))
				b.Fact(end.name+"_send_mss", end.Snd_mss)
				b.Fact("mean_to_"+end.name, float64(end.Bytes_received)/float64(max(1, end.Data_segs_in)))
			}
			b.Fact("received", received)
		},
	},
}

// sendBoth sends 20,000 bytes in each direction, and returns how many came.
func sendBoth(b *bench.Bench, c, s *bench.Socket) int {
	const each = 20_000
	b.Act(client, "send(%d)", each)
	received := c.Transfer(each, s)
	b.Act(server, "send(%d)", each)
	return received + s.Transfer(each, c)
}

// announced is the MSS that an end has announced. The kernel subtracts the option for timestamps
// when the connection is made (tcp_rcv_state_process).
func announced(i *unix.TCPInfo) uint32 {
	const timestamps, size = 1, 12 // TCPI_OPT_TIMESTAMPS, TCPOLEN_TSTAMP_ALIGNED
	if i.Options&timestamps != 0 {
		return i.Advmss + size
	}
	return i.Advmss
}
