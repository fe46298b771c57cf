package experiment

import "tcpbench/scenarios/experiment/bench"

// mostQueued bounds the longest queue that is filled on loopback: each connection in it takes a
// descriptor and a port of this host.
const mostQueued = 8192

// Accept queues are filled until the listening socket drops a SYN. A lab's somaxconn is small, so
// there the queues are shorter, as long and longer. The host's may be large, so on loopback two are
// shorter, and the one that is longer is filled only if there are descriptors enough.
var backlog = &Experiment{
	Name: "backlog",
	Facts: []bench.Fact{
		somaxconnFact,
		number("queued_half", "connections in the accept queue when it overflowed, with half of somaxconn as backlog"),
		number("queued_same", "connections in the accept queue when it overflowed, with somaxconn as backlog"),
		number("queued_twice", "connections in the accept queue when it overflowed, with twice somaxconn as backlog"),
	},
	do: func(b *bench.Bench) {
		limit := b.Somaxconn()
		b.Fact("somaxconn", limit)
		for i, fact := range []string{"queued_half", "queued_same", "queued_twice"} {
			overflow(b, listens(b, bench.Port+uint16(i), []int{limit / 2, limit, 2 * limit}[i]), fact)
		}
	},
	onLoopback: &story{
		facts: []bench.Fact{
			somaxconnFact,
			number("queued_4", "connections in the accept queue when it overflowed, with listen(4)"),
			number("queued_8", "connections in the accept queue when it overflowed, with listen(8)"),
			number("granted_above", "the limit of the queue of a socket with twice somaxconn as backlog, as sock_diag shows it"),
			number("filled_above", "1 if that queue was filled; 0 if that takes too many descriptors"),
			number("queued_above", "connections in it when it overflowed; 0 if it was not filled"),
		},
		do: func(b *bench.Bench) {
			limit := b.Somaxconn()
			b.Fact("somaxconn", limit)
			overflow(b, listens(b, 0, 4), "queued_4")
			overflow(b, listens(b, 0, 8), "queued_8")
			above := listens(b, 0, 2*limit)
			b.Fact("granted_above", above.Queue().Limit)
			fits := limit < mostQueued && limit < b.Descriptors()
			b.Fact("filled_above", fits)
			if fits {
				overflow(b, above, "queued_above")
			} else {
				b.Remark("the queue of listen(%d) is not filled: that takes %d descriptors, and this process may open %d more (at most %d are used)", 2*limit, limit+2, b.Descriptors(), mostQueued)
				b.Fact("queued_above", 0)
			}
		},
	},
}

// listens makes a socket that listens, at a port that it has in a lab.
func listens(b *bench.Bench, port uint16, backlog int) *bench.Socket {
	b.Act(server, "listen(%d)", backlog)
	return b.Listen(port, backlog)
}

// overflow fills an accept queue until it overflows; the fact is how many connections it then has.
func overflow(b *bench.Bench, l *bench.Socket, fact string) {
	b.Silent = true
	all, left := l.Fill(2*int(l.Queue().Limit) + 2)
	queue := l.Queue()
	if left != nil {
		left.Abort() // its SYN is not sent again
	}
	b.Act(client, "connect() %d times, until one is not answered; the queue has %d, its limit is %d", len(all)+1, queue.Queue, queue.Limit)
	b.Fact(fact, queue.Queue)
}
