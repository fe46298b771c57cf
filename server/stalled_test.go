package server

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"testing"
	"time"

	"tcpbench/internal/wire"
)

const (
	large    = 8 << 20   // more than a send buffer and the receive buffer of who does not read
	buffered = 300 << 10 // less than the one and more than the other
)

func awaitStalled(t testing.TB, s *Server, n uint64) {
	t.Helper()
	await(t, func() (bool, string) { return s.Stats().Stalled == n, "nobody stalled" })
}

// Every byte of a response comes before the server's close, however slow the reader.
func TestSlowReaderGetsEverything(t *testing.T) {
	for _, how := range []wire.How{wire.FIN, wire.RST} {
		t.Run(how.String(), func(t *testing.T) {
			s := start(t, Config{})
			c := dial(t, s)
			write(t, c, opening(wire.Script{ResponseSize: large, Exchanges: 1, CloseBy: wire.Server, CloseHow: how}))
			awaitStalled(t, s, 1)
			serves(t, s) // while one is stuck
			expect(t, c, large)
			expectClose(t, c, how)
			awaitClosed(t, s, Completed, 2)
		})
	}
}

// The responses of a connection are one stream of the pattern, by whichever way they are sent: at
// once, or by a connection of its own that waits for a slow reader.
func TestPatternGoesOn(t *testing.T) {
	s := start(t, Config{})
	for _, size := range []int{1, 1000, large} {
		c := dial(t, s)
		script := wire.Script{RequestSize: 1, ResponseSize: uint32(size), Exchanges: 3, Pattern: true, Refusals: true}
		write(t, c, append(opening(script), make([]byte, 2)...)) // all requests at once
		if size == large {
			awaitStalled(t, s, 1)
		}
		got := make([]byte, 3*size)
		if _, err := io.ReadFull(c, got); err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(got); {
			want := wire.Pattern(uint64(at), uint64(len(got)-at))
			if !bytes.Equal(got[at:at+len(want)], want) {
				t.Fatalf("responses of %d bytes: the %d from %d on are others", size, len(want), at)
			}
			at += len(want)
		}
	}
}

// A response that fits into the send buffer and not into the peer's window: the
// write has succeeded, and a RST in its place would take it back.
func TestResetComesBehindTheResponse(t *testing.T) {
	s := start(t, Config{})
	for i := range uint64(10) {
		c := dial(t, s)
		write(t, c, opening(wire.Script{ResponseSize: buffered, Exchanges: 1, CloseBy: wire.Server, CloseHow: wire.RST}))
		awaitStalled(t, s, i+1)
		expect(t, c, buffered)
		expectClose(t, c, wire.RST)
	}
	awaitClosed(t, s, Completed, 10)
}

func TestStopDoesNotWaitForUnsentResponses(t *testing.T) {
	s := start(t, Config{})
	c := dial(t, s)
	write(t, c, opening(wire.Script{ResponseSize: buffered, Exchanges: 1, CloseBy: wire.Server, CloseHow: wire.RST}))
	awaitStalled(t, s, 1)
	stop(t, s)
	awaitClosed(t, s, Shutdown, 1)
}

// The bytes that a RST has taken from the send buffer will never be sent: nobody waits for them.
func TestResetEndsTheWaitForUnsentBytes(t *testing.T) {
	s := start(t, Config{})
	before := descriptors()
	const n = 5
	for i := range uint64(n) {
		c := dial(t, s)
		write(t, c, opening(wire.Script{ResponseSize: buffered, Exchanges: 1, CloseBy: wire.Server, CloseHow: wire.RST}))
		awaitStalled(t, s, i+1)
		hangUp(t, c, wire.RST)
	}
	awaitClosed(t, s, PeerReset, n)
	await(t, func() (bool, string) {
		now := descriptors()
		return now <= before, fmt.Sprintf("%d descriptors before, %d after", before, now)
	})
}

// The server's own linger of zero makes no difference to that.
func TestLingerZeroComesBehindTheResponse(t *testing.T) {
	s := start(t, Config{Linger: new(0)})
	for _, size := range []uint32{buffered, large} {
		c := dial(t, s)
		write(t, c, opening(wire.Script{ResponseSize: size, Exchanges: 1, CloseBy: wire.Server}))
		expect(t, c, int(size))
		expectClose(t, c, wire.RST)
	}
	awaitClosed(t, s, Completed, 2)
}

func TestStalledConnectionsPlayOn(t *testing.T) {
	s := start(t, Config{})
	script := wire.Script{RequestSize: 10, ResponseSize: large, Exchanges: 3, CloseHow: wire.RST}
	c := dial(t, s)
	write(t, c, append(opening(script), make([]byte, 15)...)) // one and a half more
	awaitStalled(t, s, 1)
	expect(t, c, 2*large)
	write(t, c, make([]byte, 5))
	expect(t, c, large)
	hangUp(t, c, wire.RST)
	awaitClosed(t, s, Completed, 1)
	if n := s.Stats().Exchanges; n != 3 {
		t.Errorf("%d exchanges, want 3", n)
	}
}

func TestStalledConnectionsEndForTheSameReasons(t *testing.T) {
	script := wire.Script{RequestSize: 10, ResponseSize: large, Exchanges: 3}
	for _, tt := range []struct {
		why Reason
		act func(t *testing.T, c *net.TCPConn)
	}{
		{PeerReset, func(t *testing.T, c *net.TCPConn) { hangUp(t, c, wire.RST) }},
		{PeerClosedEarly, func(t *testing.T, c *net.TCPConn) {
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			expect(t, c, large)
			expectClose(t, c, wire.FIN)
		}},
		{RequestTimeout, func(t *testing.T, c *net.TCPConn) {
			write(t, c, make([]byte, 5))
			expect(t, c, large)
			expectClose(t, c, wire.FIN)
		}},
		{ExcessData, func(t *testing.T, c *net.TCPConn) {
			write(t, c, make([]byte, 25))
			expect(t, c, 3*large)
			expectClose(t, c, wire.FIN)
		}},
	} {
		t.Run(tt.why.String(), func(t *testing.T) {
			s := start(t, Config{HeaderTimeout: 100 * time.Millisecond})
			c := dial(t, s)
			write(t, c, opening(script))
			awaitStalled(t, s, 1)
			tt.act(t, c)
			awaitClosed(t, s, tt.why, 1)
		})
	}
}

func TestHalfCloseGetsALargeResponse(t *testing.T) {
	s := start(t, Config{})
	c := dial(t, s)
	write(t, c, opening(wire.Script{RequestSize: 10, ResponseSize: large, Exchanges: 1}))
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	awaitStalled(t, s, 1)
	expect(t, c, large)
	expectClose(t, c, wire.FIN)
	awaitClosed(t, s, Completed, 1)
}

func TestAnswersAHalfCloseBehindTheFIN(t *testing.T) {
	for _, size := range []int{1, large} {
		s := start(t, Config{})
		c := dial(t, s)
		write(t, c, opening(wire.Script{RequestSize: 4, ResponseSize: uint32(size), Exchanges: 2, CloseHow: wire.HalfClose}))
		expect(t, c, size)
		write(t, c, make([]byte, 4))
		await(t, func() (bool, string) { return s.Stats().BytesRead == wire.HeaderSize+8, "not read" })
		if n := s.Stats().BytesWritten; n != uint64(size) {
			t.Errorf("%d bytes written before the FIN, want %d", n, size)
		}
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		expect(t, c, size)
		expectClose(t, c, wire.FIN)
		awaitClosed(t, s, Completed, 1)
		if n := s.Stats().Exchanges; n != 2 {
			t.Errorf("%d exchanges, want 2", n)
		}
	}
}

// A peer that sends and does not read is pushed back by its window, not buffered.
func TestEchoToASlowReader(t *testing.T) {
	s := start(t, Config{Echo: true})
	c := dial(t, s)
	sent := make([]byte, large)
	rng := rand.NewChaCha8([32]byte{1})
	rng.Read(sent)
	go func() {
		c.Write(sent)
		c.CloseWrite()
	}()
	awaitStalled(t, s, 1)
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes of %d came back, equal: %t, error %v", len(got), len(sent), bytes.Equal(got, sent), err)
	}
	awaitClosed(t, s, Completed, 1)
}

// Slow readers must not make the server buffer what they asked for.
func TestSlowReadersTakeNoMemory(t *testing.T) {
	const n = 100
	s := start(t, Config{})
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range n {
		write(t, dial(t, s), opening(wire.Script{ResponseSize: large, Exchanges: 1}))
	}
	awaitStalled(t, s, n)
	runtime.GC()
	runtime.ReadMemStats(&after)
	grown := int64(after.HeapInuse+after.StackInuse) - int64(before.HeapInuse+before.StackInuse)
	if grown > n*64<<10 {
		t.Errorf("%d slow readers of %d bytes take %d bytes each", n, large, grown/n)
	}
	t.Logf("%d bytes per slow reader, both ends", grown/n)
}
