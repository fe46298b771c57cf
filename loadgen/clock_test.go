package loadgen

import (
	"bytes"
	"testing"

	"tcpbench/internal/wire"
)

// The clock of a hello and of an exchange starts before the first send(). Here the request
// is larger than all buffers, so the test can look between the first send() and the last.
func TestClockStartsBeforeTheFirstSend(t *testing.T) {
	big := bytes.Repeat([]byte("b"), 32<<20)
	for _, c := range []struct {
		name            string
		life            Lifecycle
		sending, waited state
	}{
		{"exchange", Lifecycle{Request: big}, sending, receiving},
		{"hello", Lifecycle{Request: pinged, Hello: greeted(string(big), matching("!"))}, hailing, hearing},
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
			l, _ := manualLoop(t, Config{
				Targets: to(h.addr), Process: Closed, Connections: 1, Count: 1, Timeout: patience,
				OnExhausted: CountExhausted, Lifecycle: c.life,
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
