package experiment

import "tcpbench/internal/segment"

var closedWindow = []Fact{
	{"send_window", Number, "bytes for which the client knows of room at the server, when the second probe had found none (tcpi_snd_wnd)"},
	{"probe_timer", Number, "1 if the client's timer was that of window probes then (sock_diag)"},
	{"probes_without_room", Number, "window probes in a row that found no room (tcpi_backoff)"},
	{"unread", Number, "bytes in the server's receive queue while it did not read"},
	{"sent", Number, "bytes that the client's application has sent"},
	{"received", Number, "bytes that came over the connection"},
}

// The server's application does not read until the client's kernel has asked twice whether there is
// room. That the window is closed is seen in the sender's kernel: it knows of no room, and the timer
// of window probes runs, longer after each one that finds none.
var zeroWindow = &Experiment{
	Name: "zero-window",
	Facts: append([]Fact{
		{"windows_closed", Number, "segments in which the server announces a window of zero"},
		{"probes", Number, "window probes of the client (TcpExt TCPWinProbe)"},
	}, closedWindow...),
	do:         func(b *bench) { stopReading(b, 256<<10) },
	onLoopback: &story{facts: closedWindow, do: func(b *bench) { stopReading(b, 64<<10) }},
}

// stopReading has the client send so many bytes, which the server reads late.
func stopReading(b *bench, total int) {
	const asked = 2
	c, s := b.pair(b.listen(b.free(port), 8))
	sent := 0
	send := func() {
		if sent < total {
			sent += c.send(total - sent)
		}
	}
	b.act(client, "send(%d), which the server does not read", total)
	b.silent = true
	b.await("a closed window", func() bool {
		send()
		return c.asLimited() || int(b.socketAt(s.at()).Receive) >= total
	})
	b.silent = false
	if !c.asLimited() {
		b.remark("all of it, %d bytes, has room in the server's buffer", sent)
		b.fact("send_window", float64(c.info().Snd_wnd))
		b.truth("probe_timer", false)
		b.windowsClosed()
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
	b.windowsClosed()
	if b.lab != nil {
		b.fact("probes", float64(b.counter(client, "TcpExt", "TCPWinProbe")))
	}
	b.act(server, "read()")
	b.silent = true
	received := 0
	b.awaitFor(3*patience, "all that was sent", func() bool {
		send()
		n, _, err := s.receive()
		b.check(err, "read")
		received += n
		return received >= total
	})
	b.silent = false
	b.remark("%d bytes were read", received)
	b.fact("sent", float64(sent))
	b.fact("received", float64(received))
}

// windowsClosed tells how often the server has announced a window of zero; only a lab has seen that.
func (b *bench) windowsClosed() {
	if b.lab != nil {
		b.fact("windows_closed", float64(b.count(server, func(s *segment.Segment) bool { return s.Window == 0 && s.Flags&segment.RST == 0 })))
	}
}
