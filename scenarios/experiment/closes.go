package experiment

import (
	"golang.org/x/sys/unix"

	"tcpbench/internal/lab"
)

// closing are the facts of every way to end a connection.
var closing = []Fact{
	{"client_states", Text, "the states that the client's socket went through, in order"},
	{"server_states", Text, "the states that the server's socket went through, in order"},
	{"segments", Number, "different segments that were sent"},
}

var (
	fin = flags(lab.FIN | lab.ACK)
	ack = pureACK
)

// tellClosing comes to the facts of an end that began with so many segments in the log.
func (b *bench) tellClosing(at endpoint, since int) {
	b.said("client_states", b.pathSince(at, "ESTABLISHED"))
	b.said("server_states", b.pathSince(at.peerOf(), "ESTABLISHED"))
	b.fact("segments", float64(b.distinct(since)))
}

// Each segment of the end is held until both ends have been looked at.
var fourWayClose = &Experiment{
	Name:  "four-way-close",
	Facts: closing,
	do: func(b *bench) {
		c, s := b.pair(b.listen(port, 8))
		at, since := c.at(), len(b.log)
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
		b.tellClosing(at, since)
	},
}

// The server closes at once when it hears of the client's FIN, and its kernel has not yet
// acknowledged that: an ACK may be delayed by 40 ms (TCP_DELACK_MIN). A machine that is slower
// gets another connection to try.
var threeWayClose = &Experiment{
	Name:  "three-way-close",
	Facts: append([]Fact{{"attempts", Number, "connections until the server was fast enough"}}, closing...),
	do: func(b *bench) {
		const most = 100
		l := b.listen(port, 8)
		for n := range most {
			c, s := b.pair(l)
			at, since := c.at(), len(b.log)
			s.set(unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0, "TCP_QUICKACK")
			b.hold(client, anything)
			b.hold(server, anything)
			c.close()
			b.is(at, "FIN_WAIT1")
			b.step(client, "FIN", fin)
			s.close()
			b.is(at.peerOf(), "LAST_ACK")
			b.comes(server, "FIN", fin)
			if b.gate(server).Holds(ack) && n+1 < most {
				b.remark("the server's kernel was faster than its application: once more")
				b.release()
				continue
			}
			b.step(server, "FIN", fin)
			b.is(at, "TIME_WAIT")
			b.step(client, "ACK", ack)
			b.is(at.peerOf(), closed)
			b.fact("attempts", float64(n+1))
			b.tellClosing(at, since)
			return
		}
	},
}

// After its FIN the client still reads what the server has to say.
var halfClose = &Experiment{
	Name:  "half-close",
	Facts: append([]Fact{{"received_after_fin", Number, "bytes that the client read behind its own FIN"}}, closing...),
	do: func(b *bench) {
		const answer = 5_000
		c, s := b.pair(b.listen(port, 8))
		at, since := c.at(), len(b.log)
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
		b.fact("received_after_fin", float64(s.transfer(answer, c)))
		b.act(client, "has read %d bytes", answer)
		b.is(at, "FIN_WAIT2")
		b.is(at.peerOf(), "CLOSE_WAIT")
		b.hold(client, ack)
		s.close()
		b.is(at.peerOf(), "LAST_ACK")
		b.is(at, "TIME_WAIT")
		b.step(client, "ACK", func(s *lab.Segment) bool { return ack(s) && s.Ack == b.finOf(server)+1 })
		b.is(at.peerOf(), closed)
		b.tellClosing(at, since)
	},
}

// finOf is the sequence number of a side's last FIN.
func (b *bench) finOf(from side) (seq uint32) {
	for _, a := range b.log {
		if a.from == from && a.Flags&lab.FIN != 0 {
			seq = a.Seq + uint32(a.Length)
		}
	}
	return seq
}

// Both FINs are held until both are on their way.
var simultaneousClose = &Experiment{
	Name:  "simultaneous-close",
	Facts: closing,
	do: func(b *bench) {
		c, s := b.pair(b.listen(port, 8))
		at, since := c.at(), len(b.log)
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
		b.tellClosing(at, since)
	},
}

// The client gives up a connection with unsent data.
var rstClose = &Experiment{
	Name: "rst-close",
	Facts: []Fact{
		{"client_states", Text, "the states that the client's socket went through, in order"},
		{"server_states", Text, "the states that the server's socket went through, in order"},
		{"resets", Number, "RSTs of the client"},
		{"server_error", Text, "what the server's application got behind the last byte"},
		{"sent", Number, "bytes that the client's application has sent"},
		{"received", Number, "bytes that came over the connection"},
		{"lost", Number, "bytes that were sent and will never come"},
	},
	do: func(b *bench) {
		const most = 64 << 10
		c, s := b.pair(b.listen(port, 8))
		at := c.at()
		b.act(client, "send(%d), which the server does not read", most)
		b.silent = true
		sent := 0
		b.await("all that is to be sent", func() bool {
			sent += c.send(most - sent)
			return sent == most && b.settled(at, sent)
		})
		b.silent = false
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
		b.fact("resets", float64(b.count(client, func(s *lab.Segment) bool { return s.Flags&lab.RST != 0 })))
		b.said("server_error", name(err))
		b.fact("sent", float64(sent))
		b.fact("received", float64(received))
		b.fact("lost", float64(sent-received))
	},
}

// settled tells that the peer of an endpoint takes no more of so many bytes: its window is
// closed, or all have come.
func (b *bench) settled(at endpoint, sent int) bool {
	for i := len(b.log) - 1; i >= 0; i-- {
		if a := &b.log[i]; a.from == at.side.other() {
			return a.Window == 0 || int(b.socketAt(at.peerOf()).Receive) >= sent
		}
	}
	return false
}
