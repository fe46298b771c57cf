package experiment

import (
	"errors"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/internal/machine"
	"tcpbench/internal/segment"
)

// overflowing is the backlog of the queues that overflow; somaxconn may be less.
const overflowing = 4096

// Where the queue is full already, a SYN is dropped. Where it fills while handshakes are under
// way, the last ACK is: the client does not know.
var acceptOverflow = &Experiment{
	Name: "accept-overflow",
	Facts: []Fact{
		{"queued", Number, "connections in the accept queue when it overflowed"},
		{"limit", Number, "of that queue: one more fits in"},
		{"stuck_state", Text, "the state of the client's socket whose SYN was dropped"},
		{"stuck_for", Time, "how long its connect() took, though the server accepted at once then"},
		{"stuck_again", Number, "how often its SYN was sent again"},
		{"ghosts", Number, "connections that are ESTABLISHED for the client and SYN_RECV for the server"},
		{"beyond", Number, "handshakes under way for which there was no room"},
		{"aborted", Number, "such connections that the client saw reset, with net.ipv4.tcp_abort_on_overflow = 1"},
	},
	Settings: []machine.Setting{{Key: "net.ipv4.tcp_abort_on_overflow", Value: "1"}},
	do: func(b *bench) {
		limit := min(b.somaxconn(), overflowing)
		b.act(server, "listen(), and no accept()")
		b.silent = true
		l := b.listen(port, overflowing)
		began := time.Now()
		all, stuck := b.fill(port, 2*limit+2)
		queue := b.queue(server, port)
		b.fact("queued", float64(queue.Queue))
		b.fact("limit", float64(queue.Limit))
		if stuck == nil {
			b.remark("%d connections, and no end of the queue", len(all))
			return
		}
		b.look()
		b.silent = false
		b.said("stuck_state", b.state(stuck.at()))
		b.remark("%d connections are in the queue; the SYN of the next was dropped", queue.Queue)
		accepted := 0
		for range all {
			if _, ok := l.accept(); ok {
				accepted++
			}
		}
		b.act(server, "accept() has returned %d times", accepted)
		stuck.awaitConnection()
		b.took("stuck_for", time.Since(began))
		at := stuck.local().Port()
		b.fact("stuck_again", float64(b.count(client, func(s *segment.Segment) bool { return s.Is(segment.SYN) && s.Source.Port() == at })-1))
		b.act(client, "connect() has returned after %.1f s", time.Since(began).Seconds())

		b.act(server, "another listen(), and no accept(): the queue has room for one more")
		crowd := b.crowd(port+1, limit)
		ghost := func(c *socket) bool {
			return b.state(c.at()) == "ESTABLISHED" && b.state(c.at().peerOf()) == "SYN_RECV"
		}
		b.await("an overflow", func() bool {
			return crowd.count(func(c *socket) bool { return b.state(c.at().peerOf()) == "ESTABLISHED" }) > 0 &&
				crowd.count(ghost) >= len(crowd)-1
		})
		b.fact("ghosts", float64(crowd.count(ghost)))
		b.fact("beyond", float64(len(crowd)-1))
		b.remark("%d connections are ESTABLISHED for the client, and not for the server", crowd.count(ghost))

		b.sysctl(server, "net.ipv4.tcp_abort_on_overflow", "1")
		b.act(server, "the same once more")
		crowd = b.crowd(port+2, limit)
		aborted := 0
		b.await("resets", func() bool {
			aborted += crowd.count(func(c *socket) bool { // an error is told once
				_, _, err := c.receive()
				return errors.Is(err, unix.ECONNRESET)
			})
			return aborted >= len(crowd)-1
		})
		b.fact("aborted", float64(aborted))
		b.remark("%d connections were reset", aborted)
	},
}

// sockets are several.
type sockets []*socket

// count is of how many something is true.
func (all sockets) count(is func(*socket) bool) (n int) {
	for _, s := range all {
		if is(s) {
			n++
		}
	}
	return n
}

// crowd fills an accept queue until it has room for one more, brings as many handshakes as its
// limit to their last ACK, and lets all of these go at once. More handshakes would not be
// remembered: the SYN backlog has the same limit, and cookies are sent beyond.
func (b *bench) crowd(p uint16, limit int) (all sockets) {
	b.silent = true
	b.listen(p, overflowing)
	b.fill(p, limit)
	// A client is connected before its last ACK has come, which must not be held.
	b.await("the last ACKs", func() bool { return int(b.queue(server, p).Queue) >= limit })
	b.hold(client, pureACK)
	for range limit {
		c := b.socket(client)
		b.check(c.connect(p), "connect")
		all = append(all, c)
	}
	b.blind = true
	for _, c := range all {
		c.awaitConnection()
	}
	b.silent, b.blind = false, false
	b.act(client, "connect() has returned %d times more; now the last ACKs go", len(all))
	b.silent = true
	b.gate(client).Release()
	b.look()
	b.silent = false
	return all
}
