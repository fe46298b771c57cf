package experiment

// Each segment of the end is held until both ends have been looked at.
var fourWayClose = &Experiment{
	Name:  "four-way-close",
	Facts: closing,
	do: func(b *bench) {
		c, s := b.pair(b.listen(port, 8))
		at := c.at()
		b.closes(at)
		b.hold(client, anything)
		b.hold(server, anything)
		c.close()
		b.is(at, "FIN_WAIT1")
		b.step(client, "FIN", fin)
		b.is(at.peerOf(), "CLOSE_WAIT")
		b.step(server, "ACK", ack)
		b.is(at, "FIN_WAIT2")
		s.close()
		b.is(at.peerOf(), "LAST_ACK")
		b.step(server, "FIN", fin)
		b.is(at, "TIME_WAIT")
		b.step(client, "ACK", ack)
		b.is(at.peerOf(), closed)
	},
}
