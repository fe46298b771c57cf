package experiment

import "golang.org/x/sys/unix"

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

// That the window is closed is seen in the sender's kernel: it knows of no room, and the timer
// of window probes runs, longer after each one that finds no room.
var zeroWindowOnLoopback = &story{
	facts: []Fact{
		{"send_window", Number, "bytes for which the client knows of room at the server, when the second probe had found none (tcpi_snd_wnd)"},
		{"probe_timer", Number, "1 if the client's timer was that of window probes then (sock_diag)"},
		{"probes_without_room", Number, "window probes in a row that found no room (tcpi_backoff)"},
		{"unread", Number, "bytes in the server's receive queue while it did not read"},
		{"sent", Number, "bytes that the client's application has sent"},
		{"received", Number, "bytes that came over the connection"},
	},
	do: func(b *bench) {
		const total, asked = 64 << 10, 2
		c, s := b.pair(b.listen(0, 8))
		b.act(client, "send(%d), which the server does not read", total)
		sent := 0
		b.await("a closed window", func() bool {
			if sent < total {
				sent += c.send(total - sent)
			}
			return c.asLimited() || int(b.socketAt(s.at()).Receive) >= total
		})
		if !c.asLimited() {
			b.remark("all of it, %d bytes, has room in the server's buffer", sent)
			b.fact("send_window", float64(c.info().Snd_wnd))
			b.truth("probe_timer", false)
			return
		}
		b.remark("the server's window is closed, %d bytes wait in its queue", b.socketAt(s.at()).Receive)
		b.await("two probes that find no room", func() bool { return c.asLimited() && c.info().Backoff >= asked })
		info := c.info()
		b.remark("%d probes in a row have found no room", info.Backoff)
		b.fact("send_window", float64(info.Snd_wnd))
		b.truth("probe_timer", c.asLimited())
		b.fact("probes_without_room", float64(info.Backoff))
		b.fact("unread", float64(b.socketAt(s.at()).Receive))
		b.act(server, "read()")
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
		b.remark("%d bytes were read", received)
		b.fact("sent", float64(sent))
		b.fact("received", float64(received))
	},
}

// The RST itself is not seen, but what it does: the peer's socket is gone, and its application
// gets ECONNRESET.
var rstCloseOnLoopback = &story{
	facts: []Fact{
		{"client_states", Text, "the states that the client's socket went through, in order"},
		{"server_states", Text, "the states that the server's socket went through, in order"},
		{"server_error", Text, "what the server's application got after the last byte"},
		{"sent", Number, "bytes that the client's application has sent"},
		{"received", Number, "bytes that came over the connection"},
		{"lost", Number, "bytes that were sent and will never come"},
	},
	do: func(b *bench) {
		const most = 64 << 10
		c, s := b.pair(b.listen(0, 8))
		at := c.at()
		b.act(client, "send(%d), which the server does not read", most)
		sent := 0
		b.await("all bytes in the send buffer", func() bool {
			if sent < most {
				sent += c.send(most - sent)
			}
			return sent == most && (c.asLimited() || int(b.socketAt(at.peerOf()).Receive) >= sent)
		})
		b.remark("%d bytes wait for the server's application, the others for its window", b.socketAt(at.peerOf()).Receive)
		b.act(client, "close() with SO_LINGER of zero")
		c.abort()
		b.is(at, closed)
		received, _, err := s.receive()
		if err == nil {
			err = s.ended(patience)
		}
		b.act(server, "read(): %d bytes, then %v", received, err)
		b.is(at.peerOf(), closed)
		b.said("client_states", b.path(at))
		b.said("server_states", b.path(at.peerOf()))
		b.said("server_error", name(err))
		b.fact("sent", float64(sent))
		b.fact("received", float64(received))
		b.fact("lost", float64(sent-received))
	},
}
