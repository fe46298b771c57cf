package experiment

import "tcpbench/scenarios/experiment/bench"

var closedWindow = []bench.Fact{
	number("send_window", "bytes that the server has room for, as the client knows after the second probe without room (tcpi_snd_wnd)"),
	number("probe_timer", "1 if the client's timer was then that of window probes (sock_diag)"),
	number("probes_without_room", "window probes in a row that found no room (tcpi_backoff)"),
	number("unread", "bytes in the server's receive queue while it did not read"),
	sentBytes,
	receivedBytes,
}

// The server's application does not read until the client's kernel has sent two window probes. The
// sender's kernel shows that the window is closed: it knows of no room, and the timer of window
// probes runs, longer after each probe that finds none.
var zeroWindow = &Experiment{
	Name: "zero-window",
	Facts: append([]bench.Fact{
		number("windows_closed", "segments in which the server announces a window of zero"),
		number("probes", "window probes of the client (TcpExt TCPWinProbe)"),
	}, closedWindow...),
	do:         func(b *bench.Bench) { stopReading(b, 256<<10) },
	onLoopback: &story{closedWindow, func(b *bench.Bench) { stopReading(b, 64<<10) }},
}

// stopReading has the client send total bytes, which the server reads late.
func stopReading(b *bench.Bench, total int) {
	const probes = 2
	c, s := b.Pair(b.Listen(bench.Port, 8))
	sent := 0
	send := func() {
		if sent < total {
			sent += c.Send(total - sent)
		}
	}
	b.Act(client, "send(%d), which the server does not read", total)
	b.Silent = true
	b.Await("a closed window", func() bool {
		send()
		return c.WindowClosed() || int(s.Seen.Receive) >= total
	})
	b.Silent = false
	closed := c.WindowClosed()
	if closed {
		b.Remark("the server's window is closed, %d bytes wait in its queue", s.Seen.Receive)
		b.Await("two probes that find no room", func() bool { return c.WindowClosed() && c.Info().Backoff >= probes })
		info := c.Info()
		b.Remark("%d probes in a row have found no room", info.Backoff)
		b.Fact("probes_without_room", info.Backoff)
		b.Fact("unread", s.Seen.Receive)
		if b.Lab != nil {
			b.Fact("probes", b.Counter(client, "TcpExt", "TCPWinProbe"))
		}
	} else {
		b.Remark("all of it, %d bytes, has room in the server's buffer", sent)
	}
	b.Fact("send_window", c.Info().Snd_wnd)
	b.Fact("probe_timer", c.WindowClosed())
	if b.Lab != nil {
		b.Fact("windows_closed", b.Count(server, bench.ZeroWindow))
	}
	if !closed {
		return
	}
	b.Act(server, "read()")
	b.Silent = true
	received := 0
	b.AwaitFor(3*bench.Patience, "all that was sent", func() bool {
		send()
		received += s.Take()
		return received >= total
	})
	b.Silent = false
	b.Remark("%d bytes were read", received)
	b.Fact("sent", sent)
	b.Fact("received", received)
}
