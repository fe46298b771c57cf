package sockets

import (
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
	"tcpbench/metrics"
)

// Every state reads in portions, so that other connections have their turn, and reads to the end
// though no further edge comes. The loop has a small buffer, so that the kernel holds many portions.
func TestReadingIsDoneInPortions(t *testing.T) {
	const size, small = 8 << 10, 16
	text := strings.Repeat("x", size-1) + "!"
	for _, c := range []struct {
		name string
		play peer
		life loadgen.Lifecycle
	}{
		{"receiving", asked(says(text, reads)), loadgen.Lifecycle{Request: pinged, Response: atLeast(size), CloseWait: true}},
		{"readingHello", asked(says(text, asked(says("!", reads)))), loadgen.Lifecycle{Request: pinged, Response: atLeast(1), CloseWait: true, Hello: greeted(ping, atLeast(size))}},
		{"closing", asked(says(text, reads)), loadgen.Lifecycle{Request: pinged, Response: atLeast(1), CloseWait: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			watchLeaks(t)
			l, _ := manualLoop(t, loadgen.Config{
				Targets: to(serve(t, "127.0.0.1:0", c.play).addr), Connections: 1, Count: 1,
				Lifecycle: c.life,
			})
			only := &l.conns[0]
			turns(t, l, func() bool { return only.pending > 0 || only.state == readingHello })
			until(t, "all of the answer", func() bool {
				n, err := unix.IoctlGetInt(int(only.fd), unix.SIOCINQ)
				return err == nil && n == size
			})
			l.buffer = make([]byte, small)
			for !l.over() {
				before, _ := unix.IoctlGetInt(int(only.fd), unix.SIOCINQ)
				if err := l.round(); err != nil {
					t.Fatal(err)
				}
				after, err := unix.IoctlGetInt(int(only.fd), unix.SIOCINQ)
				// Two states may have read in this turn, once for an event and once for the rest.
				if portion := readsPerEvent * small; err == nil && before-after > 4*portion {
					t.Fatalf("%d bytes were read in a turn, in portions of %d", before-after, portion)
				}
			}
			if n := l.ends.Succeeded(); n != 1 {
				t.Errorf("%v", l.ends.Failed())
			}
		})
	}
}

// A server that never stops sending on one connection does not stop the others.
func TestEndlessSender(t *testing.T) {
	watchLeaks(t)
	var accepted atomic.Int32
	h := serve(t, "127.0.0.1:0", asked(func(c *tcp) error {
		if accepted.Add(1) > 1 {
			return says(pong, closes)(c)
		}
		_, err := io.Copy(c, io.LimitReader(zeros{}, 16<<30))
		return err
	}))
	l, _ := manualLoop(t, loadgen.Config{
		Targets: to(h.addr), Connections: 2, Count: 10,
		Lifecycle: loadgen.Lifecycle{Request: pinged, Response: atClose, CloseBy: wire.Server},
	})
	turns(t, l, func() bool { return l.ends.Succeeded() == 9 })
	if l.inFlight() != 1 {
		t.Errorf("%d in flight, want the endless one; %v failed", l.inFlight(), l.ends.Failed())
	}
}

// zeros is an endless reader.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// A server that pings thousands of times at once gets no more answers than it may miss.
func TestEndlessPingsAreNotAllAnswered(t *testing.T) {
	watchLeaks(t)
	const pings, missed = 4096, 3
	answers := make(chan int64, 1)
	h := serve(t, "127.0.0.1:0", asked(says(strings.Repeat("p", pings), func(c *tcp) error {
		n, err := io.Copy(io.Discard, c)
		answers <- n
		return err
	})))
	l, _ := manualLoop(t, loadgen.Config{
		Targets: to(h.addr), Process: pace.Hold, HoldFor: patience, Connections: 1,
		Lifecycle: loadgen.Lifecycle{
			Request: pinged, Again: []byte("a"), Response: exactly(1), StayToEnd: true,
			Beat: &loadgen.Heartbeat{Every: patience, Missed: missed, Design: loadgen.ServerPings},
		},
	})
	only := &l.conns[0]
	turns(t, l, func() bool { return only.further })
	until(t, "all pings", func() bool {
		n, err := unix.IoctlGetInt(int(only.fd), unix.SIOCINQ)
		return err == nil && n == pings
	})
	turns(t, l, func() bool {
		n, err := unix.IoctlGetInt(int(only.fd), unix.SIOCINQ)
		return err == nil && n == 0
	})
	l.finish(0, metrics.StageExchange, metrics.Succeeded)
	if n := <-answers; n < 1 || n > missed {
		t.Errorf("%d answers to %d pings, of which %d may be missed", n, pings, missed)
	}
}

// A connection that ends while it is on the list of unread ones does not affect the next one in its
// slot.
func TestReadingOnIsOfOneLife(t *testing.T) {
	watchLeaks(t)
	l, _ := manualLoop(t, loadgen.Config{
		Targets: to(serve(t, "127.0.0.1:0", forgets).addr), Connections: 1, Count: 2,
		Lifecycle: loadgen.Lifecycle{Request: pinged, Response: isPong},
	})
	only := &l.conns[0]
	turns(t, l, func() bool { return only.state == receiving })
	l.readLater(0)
	l.finish(0, metrics.StageExchange, metrics.TimedOut)
	l.startDue()
	if only.state != connecting {
		t.Fatalf("state %d, want connecting", only.state)
	}
	if l.readLater(0); len(l.unread) != 2 {
		t.Errorf("%d on the list, want the one that has ended and the next", len(l.unread))
	}
	l.unread = l.unread[:1]
	if l.readOn(); only.state != connecting {
		t.Errorf("state %d, want connecting: the connection on the list has ended", only.state)
	}
}
