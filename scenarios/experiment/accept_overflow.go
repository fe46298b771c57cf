package experiment

import (
	"errors"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/internal/machine"
	"tcpbench/scenarios/experiment/bench"
)

// overflowing is the backlog of the queues that overflow; somaxconn may be less.
const overflowing = 4096

const abortOnOverflow = "net.ipv4.tcp_abort_on_overflow"

// If the queue is full, a SYN is dropped. If it fills while handshakes are in flight, the last ACK is
// dropped, and the client does not know.
var acceptOverflow = &Experiment{
	Name: "accept-overflow",
	Facts: []bench.Fact{
		number("queued", "connections in the accept queue when it overflowed"),
		number("limit", "of that queue: it holds one more"),
		text("stuck_state", "the state of the client's socket whose SYN was dropped"),
		duration("stuck_for", "how long its connect() took, though the server then accepted at once"),
		number("stuck_again", "how often its SYN was sent again"),
		number("ghosts", "connections that are ESTABLISHED for the client and SYN_RECV for the server"),
		number("beyond", "handshakes in flight for which the queue had no room"),
		number("aborted", "such connections that the client saw reset, with net.ipv4.tcp_abort_on_overflow = 1"),
	},
	Settings: []machine.Setting{{Key: abortOnOverflow, Value: "1"}},
	do: func(b *bench.Bench) {
		limit := min(b.Somaxconn(), overflowing)
		b.Act(server, "listen(), and no accept()")
		b.Silent = true
		l := b.Listen(bench.Port, overflowing)
		began := time.Now()
		all, stuck := l.Fill(2*limit + 2)
		queue := l.Queue()
		b.Fact("queued", queue.Queue)
		b.Fact("limit", queue.Limit)
		if stuck == nil {
			b.Remark("%d connections did not fill the queue", len(all))
			return
		}
		b.Look()
		b.Silent = false
		b.Fact("stuck_state", stuck.State())
		b.Remark("%d connections are in the queue; the SYN of the next was dropped", queue.Queue)
		accepted := 0
		for range all {
			if _, ok := l.Accept(); ok {
				accepted++
			}
		}
		b.Act(server, "accept() has returned %d times", accepted)
		stuck.AwaitConnected()
		b.Fact("stuck_for", time.Since(began))
		b.Fact("stuck_again", b.Count(client, bench.SYN.Of(stuck.Connection()))-1)
		b.Act(client, "connect() has returned after %.1f s", time.Since(began).Seconds())

		b.Act(server, "another listen(), and no accept(): the queue has room for one more")
		late := completeAtOnce(b, bench.Port+1, limit)
		ghost := func(c *bench.Socket) bool { return c.State() == "ESTABLISHED" && c.Peer.State() == "SYN_RECV" }
		ghosts := 0
		b.Await("an overflow", func() bool {
			ghosts = count(late, ghost)
			return ghosts >= len(late)-1 && slices.ContainsFunc(late, func(c *bench.Socket) bool { return c.Peer.State() == "ESTABLISHED" })
		})
		b.Fact("ghosts", ghosts)
		b.Fact("beyond", len(late)-1)
		b.Remark("%d connections are ESTABLISHED for the client, and not for the server", ghosts)

		b.Sysctl(server, abortOnOverflow, "1")
		b.Act(server, "another listen(), as before")
		late = completeAtOnce(b, bench.Port+2, limit)
		aborted := 0
		b.Await("resets", func() bool {
			aborted += count(late, func(c *bench.Socket) bool { // a socket returns its error once
				_, _, err := c.Receive()
				return errors.Is(err, unix.ECONNRESET)
			})
			return aborted >= len(late)-1
		})
		b.Fact("aborted", aborted)
		b.Remark("%d connections were reset", aborted)
	},
}

// count is of how many sockets something is true.
func count(all []*bench.Socket, is func(*bench.Socket) bool) (n int) {
	for _, s := range all {
		if is(s) {
			n++
		}
	}
	return n
}

// completeAtOnce fills an accept queue until it has room for one more, brings as many handshakes as
// its limit to their last ACK, and lets all these ACKs pass at once. The kernel would not remember
// more handshakes: the SYN backlog has the same limit, and beyond it cookies are sent.
func completeAtOnce(b *bench.Bench, port uint16, limit int) (all []*bench.Socket) {
	b.Silent = true
	l := b.Listen(port, overflowing)
	l.Fill(limit)
	// A client is connected before its last ACK has come, which must not be held.
	b.Await("the last ACKs", func() bool { return l.Queue().Queue >= limit })
	b.Hold(client, bench.ACK)
	for range limit {
		c := b.Socket(client)
		c.Connect(port)
		all = append(all, c)
	}
	b.Blind = true
	for _, c := range all {
		c.AwaitConnected()
	}
	b.Silent, b.Blind = false, false
	b.Act(client, "connect() has returned %d times more; now the last ACKs pass", len(all))
	b.Silent = true
	b.Release(client)
	b.Look()
	b.Silent = false
	return all
}
