package experiment

import "tcpbench/internal/segment"

// After its FIN the client still reads what the server has to say.
var halfClose = &Experiment{
	Name:  "half-close",
	Facts: append([]Fact{{"received_after_fin", Number, "bytes that the client read behind its own FIN"}}, closing...),
	do: func(b *bench) {
		const answer = 5_000
		c, s := b.pair(b.listen(port, 8))
		at := c.at()
		b.closes(at)
		b.hold(client, fin)
		b.hold(server, ack)
		c.shutdown()
		b.is(at, "FIN_WAIT1")
		b.step(client, "FIN", fin)
		b.is(at.peerOf(), "CLOSE_WAIT")
		b.step(server, "ACK", ack)
		b.is(at, "FIN_WAIT2")
		b.release()
		b.act(server, "send(%d)", answer)
		received := s.transfer(answer, c)
		b.fact("received_after_fin", float64(received))
		b.act(client, "has read %d bytes", received)
		b.is(at, "FIN_WAIT2")
		b.is(at.peerOf(), "CLOSE_WAIT")
		b.hold(client, ack)
		s.close()
		b.is(at.peerOf(), "LAST_ACK")
		b.is(at, "TIME_WAIT")
		b.step(client, "ACK", func(s *segment.Segment) bool { return ack(s) && s.Ack == b.finOf(server)+1 })
		b.is(at.peerOf(), closed)
	},
}

// finOf is the sequence number of a side's last FIN.
func (b *bench) finOf(from side) (seq uint32) {
	for _, a := range b.log {
		if a.from == from && a.Flags&segment.FIN != 0 {
			seq = a.Seq + uint32(a.Length)
		}
	}
	return seq
}
