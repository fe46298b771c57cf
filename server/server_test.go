package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"tcpbench/internal/wire"
)

func TestPlaysBothClosersAndBothCloses(t *testing.T) {
	for _, closer := range []wire.Closer{wire.Client, wire.Server, wire.Both} {
		for _, how := range []wire.How{wire.FIN, wire.RST} {
			for _, exchanges := range []uint16{1, 3} {
				t.Run(fmt.Sprintf("%s-%s-%d", closer, how, exchanges), func(t *testing.T) {
					s := start(t, Config{})
					script := wire.Script{CloseBy: closer, CloseHow: how,
						RequestSize: 100, ResponseSize: 200, Exchanges: exchanges}
					c := dial(t, s)
					write(t, c, opening(script))
					for i := range exchanges {
						if i > 0 {
							write(t, c, make([]byte, script.RequestSize))
						}
						expect(t, c, 200)
					}
					if closer != wire.Client {
						expectClose(t, c, how)
					} else {
						hangUp(t, c, how)
					}
					awaitClosed(t, s, Completed, 1)
					stats := s.Stats()
					if stats.Exchanges != uint64(exchanges) ||
						stats.BytesRead != uint64(exchanges)*100+wire.HeaderSize ||
						stats.BytesWritten != uint64(exchanges)*200 {
						t.Errorf("counted %+v", stats)
					}
				})
			}
		}
	}
}

// Who comes first is chance, and no matter: the script is played all the same.
func TestBothClose(t *testing.T) {
	s := start(t, Config{})
	const each = 50
	for range each {
		for _, how := range []wire.How{wire.FIN, wire.RST} {
			for _, peer := range []wire.How{wire.FIN, wire.RST} {
				c := dial(t, s)
				write(t, c, opening(wire.Script{CloseBy: wire.Both, CloseHow: how, RequestSize: 1, ResponseSize: 1, Exchanges: 1}))
				expect(t, c, 1)
				hangUp(t, c, peer)
			}
		}
	}
	awaitClosed(t, s, Completed, 4*each)
}

func TestPlaysUntilTheClientCloses(t *testing.T) {
	s := start(t, Config{})
	c := dial(t, s)
	write(t, c, opening(wire.Script{RequestSize: 1, ResponseSize: 1}))
	expect(t, c, 1)
	for range 50 {
		write(t, c, []byte{1})
		expect(t, c, 1)
	}
	hangUp(t, c, wire.FIN)
	awaitClosed(t, s, Completed, 1)
	if n := s.Stats().Exchanges; n != 51 {
		t.Errorf("%d exchanges, want 51", n)
	}
}

func TestHoldsAConnectionWithoutPayload(t *testing.T) {
	s := start(t, Config{})
	c := dial(t, s)
	write(t, c, wire.Script{ResponseSize: 1}.Append(nil))
	expect(t, c, 1)
	hangUp(t, c, wire.FIN)
	awaitClosed(t, s, Completed, 1)
}

func TestAnswersNothingToResponsesOfNoBytes(t *testing.T) {
	s := start(t, Config{})
	c := dial(t, s)
	write(t, c, opening(wire.Script{RequestSize: 10, Exchanges: 1, CloseBy: wire.Server}))
	expectClose(t, c, wire.FIN)
	awaitClosed(t, s, Completed, 1)
}

func TestPipelinedRequests(t *testing.T) {
	s := start(t, Config{})
	script := wire.Script{RequestSize: 7, ResponseSize: 3, Exchanges: 1000, CloseBy: wire.Server}
	c := dial(t, s)
	write(t, c, append(opening(script), make([]byte, 999*7)...))
	expect(t, c, 3000)
	expectClose(t, c, wire.FIN)
	awaitClosed(t, s, Completed, 1)
	if n := s.Stats().Exchanges; n != 1000 {
		t.Errorf("%d exchanges, want 1000", n)
	}
}

func TestRequestsOneByteAtATime(t *testing.T) {
	s := start(t, Config{})
	script := wire.Script{RequestSize: 5, ResponseSize: 2, Exchanges: 2}
	c := dial(t, s)
	for _, b := range append(opening(script), make([]byte, 5)...) {
		write(t, c, []byte{b})
	}
	expect(t, c, 4)
	hangUp(t, c, wire.FIN)
	awaitClosed(t, s, Completed, 1)
}

func TestAnswersARequestThatComesWithAFIN(t *testing.T) {
	s := start(t, Config{})
	for range 50 {
		c := dial(t, s)
		write(t, c, opening(wire.Script{RequestSize: 10, ResponseSize: 1000, Exchanges: 1}))
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		expect(t, c, 1000)
		expectClose(t, c, wire.FIN)
	}
	awaitClosed(t, s, Completed, 50)
}

func TestHello(t *testing.T) {
	s := start(t, Config{MaxRequest: 1000, MaxResponse: 2000})
	c := dial(t, s)
	write(t, c, wire.Script{Kind: wire.Hello}.Append(nil))
	b := make([]byte, wire.HeaderSize)
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
	got, err := wire.Parse(b)
	if want := (wire.Script{Kind: wire.HelloReply, RequestSize: 1000, ResponseSize: 2000, Exchanges: wire.Version}); err != nil || got != want {
		t.Errorf("answer %+v, %v; want %+v", got, err, want)
	}
	hangUp(t, c, wire.FIN)
	awaitClosed(t, s, Hello, 1)
}

// Who asks who is there, and then neither closes nor says more, does not stay.
func TestHelloEndsInTime(t *testing.T) {
	s := start(t, Config{HeaderTimeout: 50 * time.Millisecond})
	c := dial(t, s)
	write(t, c, wire.Script{Kind: wire.Hello}.Append(nil))
	if b, err := io.ReadAll(c); err != nil || len(b) != wire.HeaderSize {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	awaitClosed(t, s, RequestTimeout, 1)
}

func TestEcho(t *testing.T) {
	s := start(t, Config{Echo: true, HeaderTimeout: 20 * time.Millisecond})
	c := dial(t, s)
	for _, text := range []string{"a", "tb", "GET / HTTP/1.1\r\n\r\n"} {
		write(t, c, []byte(text))
		b := make([]byte, len(text))
		if _, err := io.ReadFull(c, b); err != nil || string(b) != text {
			t.Fatalf("%q came back as %q, %v", text, b, err)
		}
	}
	hangUp(t, c, wire.FIN)
	awaitClosed(t, s, Completed, 1)
}

func TestStopClosesEverything(t *testing.T) {
	s := start(t, Config{})
	var conns []*net.TCPConn
	for i := range 40 {
		c := dial(t, s)
		switch i % 4 {
		case 1:
			write(t, c, []byte("tb"))
		case 2:
			write(t, c, opening(wire.Script{ResponseSize: 1}))
			expect(t, c, 1)
		case 3: // a slow reader
			write(t, c, opening(wire.Script{ResponseSize: 16 << 20, Exchanges: 1}))
		}
		conns = append(conns, c)
	}
	await(t, func() (bool, string) {
		stats := s.Stats()
		return stats.Open == 40 && stats.Accepted == 40 && stats.Stalled == 10, "not all open"
	})
	stop(t, s)
	if n := s.Stats().Closed[Shutdown.String()]; n != 40 {
		t.Errorf("%d closed by shutdown, want 40", n)
	}
	for _, c := range conns {
		if _, err := io.Copy(io.Discard, c); err != nil && !isReset(err) {
			t.Errorf("not closed: %v", err)
		}
	}
	if _, err := net.Dial("tcp", s.Addrs()[0].String()); err == nil {
		t.Error("still listening after Stop")
	}
	select {
	case <-s.Done():
	default:
		t.Error("not done after Stop")
	}
	stop(t, s) // again: nothing happens
}

// What is under way may end by itself; what comes now is refused.
func TestDrainWaitsForWhatIsUnderWay(t *testing.T) {
	s := start(t, Config{})
	half := dial(t, s)
	script := wire.Script{RequestSize: 100, ResponseSize: 50, Exchanges: 1}
	write(t, half, opening(script)[:60])
	stuck := dial(t, s)
	write(t, stuck, opening(wire.Script{ResponseSize: large, Exchanges: 1, CloseBy: wire.Server}))
	awaitStalled(t, s, 1)
	await(t, func() (bool, string) { return s.Stats().Accepted == 2, "not accepted" })
	drained := make(chan uint64)
	go func() { drained <- s.Drain(t.Context()) }()
	await(t, func() (bool, string) { return s.draining.Load(), "not draining" })
	expectClose(t, dial(t, s), wire.FIN)
	write(t, half, opening(script)[60:])
	expect(t, half, 50)
	hangUp(t, half, wire.FIN)
	select {
	case n := <-drained:
		t.Fatalf("%d open, and not waited for", n)
	default:
	}
	expect(t, stuck, large)
	expectClose(t, stuck, wire.FIN)
	if n := <-drained; n != 0 {
		t.Errorf("%d open", n)
	}
	stats := s.Stats()
	if stats.Closed[Completed.String()] != 2 || stats.Closed[Shutdown.String()] != 1 {
		t.Errorf("%v", nonzero(stats.Closed))
	}
}

func TestDrainGivesUpWithItsContext(t *testing.T) {
	s := start(t, Config{})
	c := dial(t, s)
	await(t, func() (bool, string) { return s.Stats().Accepted == 1, "not accepted" })
	if n := s.Drain(over()); n != 1 {
		t.Errorf("%d open, want 1", n)
	}
	stop(t, s)
	expectClose(t, c, wire.FIN)
	awaitClosed(t, s, Shutdown, 1)
	if n := s.Drain(t.Context()); n != 0 {
		t.Errorf("%d open after Stop", n)
	}
}

func TestStopGivesUpWithItsContext(t *testing.T) {
	s := start(t, Config{})
	select {
	case <-s.Done():
		t.Fatal("done before Stop")
	default:
	}
	// Either it was fast enough or it says so; the next Stop waits.
	if err := s.Stop(over()); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	stop(t, s)
}

// over returns a context that has ended.
func over() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
