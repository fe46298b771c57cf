package experiment

import "fmt"

// Queues of three lengths are filled until they overflow.
var backlog = &Experiment{
	Name:       "backlog",
	onLoopback: backlogOnLoopback,
	Facts: []Fact{
		{"somaxconn", Number, "the server's net.core.somaxconn"},
		{"queued_4", Number, "connections in the accept queue when it overflowed, with listen(4)"},
		{"queued_8", Number, "connections in the accept queue when it overflowed, with listen(8)"},
		{"queued_16", Number, "connections in the accept queue when it overflowed, with listen(16)"},
	},
	do: func(b *bench) {
		var limit float64
		_, err := fmt.Sscan(b.setting(server, "net.core.somaxconn"), &limit)
		b.check(err, "read net.core.somaxconn")
		b.fact("somaxconn", limit)
		b.silent = true
		for i, backlog := range []int{4, 8, 16} {
			p := uint16(port + i)
			b.act(server, "listen(%d)", backlog)
			b.listen(p, backlog)
			all, left := b.fill(p, 64)
			queue := b.queue(server, p)
			if left != nil {
				left.abort() // its SYN is not sent again
			}
			b.act(client, "connect() %d times, until one is not answered; the queue has %d, its limit is %d", len(all)+1, queue.Queue, queue.Limit)
			b.fact(fmt.Sprintf("queued_%d", backlog), float64(queue.Queue))
		}
	},
}
