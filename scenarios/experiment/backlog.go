package experiment

import "fmt"

// Queues of three lengths are filled until they overflow.
var backlog = &Experiment{
	Name:       "backlog",
	onLoopback: backlogOnLoopback,
	Facts: []Fact{
		{"somaxconn", Number, "the server's net.core.somaxconn"},
		{"queued_half", Number, "connections in the accept queue when it overflowed, with half of somaxconn as backlog"},
		{"queued_same", Number, "connections in the accept queue when it overflowed, with somaxconn as backlog"},
		{"queued_twice", Number, "connections in the accept queue when it overflowed, with twice somaxconn as backlog"},
	},
	do: func(b *bench) {
		limit := b.somaxconn()
		b.fact("somaxconn", float64(limit))
		b.silent = true
		for i, way := range []struct {
			fact    string
			backlog int
		}{{"queued_half", limit / 2}, {"queued_same", limit}, {"queued_twice", 2 * limit}} {
			p := uint16(port + i)
			b.act(server, "listen(%d)", way.backlog)
			b.listen(p, way.backlog)
			all, left := b.fill(p, 2*way.backlog+2)
			queue := b.queue(server, p)
			if left != nil {
				left.abort() // its SYN is not sent again
			}
			b.act(client, "connect() %d times, until one is not answered; the queue has %d, its limit is %d", len(all)+1, queue.Queue, queue.Limit)
			b.fact(way.fact, float64(queue.Queue))
		}
	},
}

// somaxconn is the limit of every accept queue of the server's host.
func (b *bench) somaxconn() (limit int) {
	_, err := fmt.Sscan(b.setting(server, "net.core.somaxconn"), &limit)
	b.check(err, "read net.core.somaxconn")
	return limit
}
