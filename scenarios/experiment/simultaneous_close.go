package experiment

// Both FINs are held until both are on their way.
var simultaneousClose = &Experiment{
	Name:  "simultaneous-close",
	Facts: closing,
	do: func(b *bench) {
		c, s := b.pair(b.listen(port, 8))
		at := c.at()
		b.closes(at)
		b.hold(client, anything)
		b.hold(server, anything)
		c.close()
		s.close()
		b.is(at, "FIN_WAIT1")
		b.is(at.peerOf(), "FIN_WAIT1")
		b.comes(client, "FIN", fin)
		b.comes(server, "FIN", fin)
		b.step(client, "FIN", fin)
		b.is(at.peerOf(), "CLOSING")
		b.step(server, "FIN", fin)
		b.is(at, "CLOSING")
		b.step(client, "ACK", ack)
		b.is(at.peerOf(), "TIME_WAIT")
		b.step(server, "ACK", ack)
		b.is(at, "TIME_WAIT")
	},
}
