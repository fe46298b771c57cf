package experiment

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// filling is a listening socket whose queue is filled by connects, one after the other.
type filling struct {
	listener *socket
	fact     string
	answered int
	pending  *socket // the connect that nobody has answered yet
	full     bool
}

// step goes on until a connect is not answered at once, and tells whether the queue is full:
// then the SYN of the last connect was sent again, and that was not answered either. Who
// counts overflows counts those of the whole host; this is the socket's own evidence.
func (f *filling) step(b *bench) bool {
	for !f.full {
		if f.pending == nil {
			f.pending = b.socket(client)
			b.check(f.pending.connect(f.listener.local().Port()), "connect")
		}
		over, err := f.pending.connected()
		b.check(err, "connect")
		if !over {
			f.full = f.pending.info().Retransmits > 0
			break
		}
		f.answered, f.pending = f.answered+1, nil
	}
	return f.full
}

// mostQueued bounds the longest queue that is filled: each connection in it costs a descriptor
// and a port of this host.
const mostQueued = 8192

// A lab's somaxconn is small; the host's is as it is. So two queues are below it, and one is
// to be above: what the kernel grants that one is asked, and it is filled if descriptors allow.
var backlogOnLoopback = &story{
	facts: []Fact{
		{"somaxconn", Number, "the server's net.core.somaxconn"},
		{"queued_4", Number, "connections in the accept queue when it overflowed, with listen(4)"},
		{"queued_8", Number, "connections in the accept queue when it overflowed, with listen(8)"},
		{"granted_above", Number, "the limit of the queue of a socket with twice somaxconn as backlog, as sock_diag has it"},
		{"filled_above", Number, "1 if that queue was filled; 0 if that takes too many descriptors"},
		{"queued_above", Number, "connections in it when it overflowed; 0 if it was not filled"},
	},
	do: func(b *bench) {
		somaxconn := b.somaxconn()
		b.fact("somaxconn", float64(somaxconn))
		b.silent, b.blind = true, true
		var all []*filling
		for _, backlog := range []int{4, 8} {
			b.act(server, "listen(%d)", backlog)
			all = append(all, &filling{listener: b.listen(0, backlog), fact: fmt.Sprintf("queued_%d", backlog)})
		}
		b.act(server, "listen(%d)", 2*somaxconn)
		above := &filling{listener: b.listen(0, 2*somaxconn), fact: "queued_above"}
		b.fact("granted_above", float64(above.listener.accepting().Limit))
		fits := somaxconn < mostQueued && somaxconn < b.descriptorsLeft()
		b.truth("filled_above", fits)
		if fits {
			all = append(all, above)
		} else {
			b.remark("the queue of listen(%d) is not filled: that takes %d descriptors, and this process may open %d more (at most %d are used)", 2*somaxconn, somaxconn+2, b.descriptorsLeft(), mostQueued)
			b.fact(above.fact, 0)
		}
		const longest = 30 * time.Second
		b.awaitFor(longest, "a connect to each that is not answered", func() bool {
			full := 0
			for _, f := range all {
				if f.step(b) {
					full++
				}
			}
			return full == len(all)
		})
		for _, f := range all {
			queue := f.listener.accepting()
			b.act(client, "connect() %d times, until the SYN is sent again and not answered; the queue has %d, its limit is %d", f.answered+1, queue.Queue, queue.Limit)
			b.fact(f.fact, float64(queue.Queue))
		}
	},
}

// descriptorsLeft is about how many more sockets this process may open.
func (b *bench) descriptorsLeft() int {
	const others = 64 // streams, epoll, what the runtime needs
	var limit unix.Rlimit
	b.check(unix.Getrlimit(unix.RLIMIT_NOFILE, &limit), "read the limit of descriptors")
	return int(min(limit.Cur, 1<<20)) - len(b.fds) - others
}
