package experiment

import (
	"tcpbench/internal/lab"
)

// The server's application does not read until the client's kernel has asked twice whether
// there is room.
var zeroWindow = &Experiment{
	Name:       "zero-window",
	onLoopback: zeroWindowOnLoopback,
	Facts: []Fact{
		{"windows_closed", Number, "segments in which the server announces a window of zero"},
		{"probes", Number, "window probes of the client (TcpExt TCPWinProbe)"},
		{"unread", Number, "bytes in the server's receive queue while it did not read"},
		{"sent", Number, "bytes that the client's application has sent"},
		{"received", Number, "bytes that came over the connection"},
	},
	do: func(b *bench) {
		const total, asked = 256 << 10, 2
		c, s := b.pair(b.listen(port, 8))
		closed := func(s *lab.Segment) bool { return s.Window == 0 && s.Flags&lab.RST == 0 }
		sent := 0
		b.act(client, "send(%d), which the server does not read", total)
		b.silent = true
		b.await("a window of zero", func() bool {
			if sent < total {
				sent += c.send(total - sent)
			}
			return b.count(server, closed) > 0 || int(b.socketAt(s.at()).Receive) >= total
		})
		b.silent = false
		if b.count(server, closed) == 0 {
			b.remark("all of it, %d bytes, has room in the server's buffer", sent)
			b.fact("windows_closed", 0)
			return
		}
		b.remark("the server's window is closed, %d bytes wait in its queue", b.socketAt(s.at()).Receive)
		b.await("probes", func() bool { return b.counter(client, "TcpExt", "TCPWinProbe") >= asked })
		b.fact("unread", float64(b.socketAt(s.at()).Receive))
		b.fact("windows_closed", float64(b.count(server, closed)))
		b.fact("probes", float64(b.counter(client, "TcpExt", "TCPWinProbe")))
		b.act(server, "read()")
		b.silent = true
		received := 0
		b.awaitFor(3*patience, "all that was sent", func() bool {
			if sent < total {
				sent += c.send(total - sent)
			}
			n, _, err := s.receive()
			b.check(err, "read")
			received += n
			return received >= total
		})
		b.silent = false
		b.remark("%d bytes were read", received)
		b.fact("sent", float64(sent))
		b.fact("received", float64(received))
	},
}
