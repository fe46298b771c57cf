package sockets

import (
	"bytes"
	"testing"
	"time"

	"tcpbench/internal/wire"
	"tcpbench/loadgen"
)

// The clock of a hello and of an exchange starts before the first send(). The request is larger than
// all buffers, so the test can look between the first send() and the last.
func TestClockStartsBeforeTheFirstSend(t *testing.T) {
	big := bytes.Repeat([]byte("b"), 32<<20)
	for _, c := range []struct {
		name            string
		life            loadgen.Lifecycle
		sending, waited state
	}{
		{"exchange", loadgen.Lifecycle{Request: big}, sending, receiving},
		{"hello", loadgen.Lifecycle{Request: pinged, Hello: greeted(string(big), matching("!"))}, sendingHello, readingHello},
	} {
		t.Run(c.name, func(t *testing.T) {
			watchLeaks(t)
			mayRead := make(chan struct{})
			h := serve(t, "127.0.0.1:0", func(c *tcp) error {
				select {
				case <-mayRead:
				case <-t.Context().Done():
				}
				return reads(c)
			})
			c.life.Response, c.life.CloseBy = matching("!"), wire.Client
			l, _ := manualLoop(t, loadgen.Config{
				Targets: to(h.addr), Connections: 1, Count: 1,
				Lifecycle: c.life,
			})
			only := &l.conns[0]
			turns(t, l, func() bool { return only.state == c.sending && only.sent > 0 })
			partly := l.run.now()
			close(mayRead)
			turns(t, l, func() bool { return only.state == c.waited })
			if only.mark == 0 || only.mark > partly {
				t.Errorf("the clock starts at %d ns, a part was sent before %d ns", only.mark, partly)
			}
		})
	}
}

// What a connection does after a pause is planned, too: its lateness is in schedule_lag, and
// heartbeats that it skips are missed. Here a second passes before the loop's next turn.
func TestLatenessOfPausesIsInScheduleLag(t *testing.T) {
	const stall, every = time.Second, 20 * time.Millisecond
	life := loadgen.Lifecycle{Request: pinged, Again: pinged, Exchanges: 2, Response: exactly(4)}
	gap, stay, beat := life, life, life
	gap.Gap, gap.Jitter = 20*time.Millisecond, 0.5
	stay.Exchanges, stay.Stay = 1, 20*time.Millisecond
	beat.Exchanges, beat.StayToEnd = 1, true
	beat.Beat = &loadgen.Heartbeat{Every: every, Missed: 100, Design: loadgen.ClientPings}
	for name, life := range map[string]loadgen.Lifecycle{"gap": gap, "stay": stay, "heartbeat": beat} {
		t.Run(name, func(t *testing.T) {
			watchLeaks(t)
			l, _ := manualLoop(t, loadgen.Config{
				Targets: to(serve(t, "127.0.0.1:0", echoes).addr), Connections: 1, Count: 1, Lifecycle: life,
			})
			only := &l.conns[0]
			turns(t, l, func() bool { return only.state == idle })
			planned := l.hist[scheduleLag].Count()
			l.base = l.base.Add(-stall)
			turns(t, l, func() bool { return only.state != idle })
			h, err := l.hist[scheduleLag].Export()
			if err != nil {
				t.Fatal(err)
			}
			if h.Count != planned+1 || h.Max < int64(stall-30*time.Millisecond) {
				t.Errorf("%d samples after %d, the largest %v of a stall of %v", h.Count, planned, time.Duration(h.Max), stall)
			}
			if n := l.report.Beats.Missed; (n >= uint64(stall/every-2)) != (life.Beat != nil) {
				t.Errorf("%d beats missed in a stall of %v, one is due every %v", n, stall, every)
			}
		})
	}
}
