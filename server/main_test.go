package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tcpbench/internal/alone"
	"tcpbench/internal/wire"
)

// patience is how long a test waits for what must come. Nothing ever takes that long.
const patience = 10 * time.Second

func TestMain(m *testing.M) {
	if role := os.Getenv(childRole); role != "" {
		os.Exit(child(role))
	}
	if alone.Inside() { // in a namespace whose loopback is still down
		os.Exit(m.Run())
	}
	// What the runtime and gnet open once for the process is no leak.
	warmUp()
	before, known := descriptors(), goleak.IgnoreCurrent()
	code := m.Run()
	if err := goleak.Find(known); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if after := descriptors(); code == 0 && after > before {
		fmt.Fprintf(os.Stderr, "%d descriptors leaked\n", after-before)
		code = 1
	}
	os.Exit(code)
}

func warmUp() {
	s, err := Start(Config{Addrs: loopback(1)})
	if err != nil {
		panic(err)
	}
	c, err := net.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		panic(err)
	}
	c.Close()
	if err := s.Stop(context.Background()); err != nil {
		panic(err)
	}
}

func descriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	return len(entries)
}

func loopback(n int) []netip.AddrPort {
	addrs := make([]netip.AddrPort, n)
	for i := range addrs {
		addrs[i] = netip.MustParseAddrPort("127.0.0.1:0")
	}
	return addrs
}

// start runs a server until the end of the test and then checks that every
// connection was counted once.
func start(t testing.TB, cfg Config) *Server {
	t.Helper()
	if cfg.Addrs == nil {
		cfg.Addrs = loopback(1)
	}
	if cfg.Loops == 0 {
		cfg.Loops = 2
	}
	s, err := Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t testing.TB, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	balanced(t, s.Stats())
	if open := s.Stats().Open; open != 0 {
		t.Errorf("%d connections open after Stop", open)
	}
}

func balanced(t testing.TB, s Stats) {
	t.Helper()
	if err := s.Balance(); err != nil {
		t.Errorf("%v: %v", err, nonzero(s.Closed))
	}
}

// awaitClosed waits until n connections have ended for the reason, and none for another.
func awaitClosed(t testing.TB, s *Server, why Reason, n uint64) {
	t.Helper()
	await(t, func() (bool, string) {
		stats := s.Stats()
		for name, k := range stats.Closed {
			if k > 0 && name != why.String() {
				t.Fatalf("want %d %s, have %v", n, why, nonzero(stats.Closed))
			}
		}
		return stats.Closed[why.String()] == n && stats.Open == 0,
			fmt.Sprintf("want %d %s and none open, have %v and %d", n, why, nonzero(stats.Closed), stats.Open)
	})
}

func await(t testing.TB, ready func() (bool, string)) {
	t.Helper()
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		ok, what := ready()
		if ok {
			return
		}
		if time.Since(began) > patience {
			t.Fatal(what)
		}
	}
}

func nonzero(all map[string]uint64) map[string]uint64 {
	some := map[string]uint64{}
	for name, n := range all {
		if n > 0 {
			some[name] = n
		}
	}
	return some
}

// dial connects and gives up with the test.
func dial(t testing.TB, s *Server) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c.(*net.TCPConn)
}

func write(t testing.TB, c net.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

// expect reads exactly n zeros.
func expect(t testing.TB, c net.Conn, n int) {
	t.Helper()
	b := make([]byte, n)
	if k, err := io.ReadFull(c, b); err != nil {
		t.Fatalf("after %d of %d bytes: %v", k, n, err)
	}
	for i, v := range b {
		if v != 0 {
			t.Fatalf("byte %d of the response is %#x", i, v)
		}
	}
}

// expectClose reads the end of the stream and nothing before it.
func expectClose(t testing.TB, c net.Conn, how wire.How) {
	t.Helper()
	n, err := c.Read(make([]byte, 1))
	got := wire.FIN
	switch {
	case n > 0:
		t.Fatalf("a byte in place of a %s", how)
	case errors.Is(err, syscall.ECONNRESET):
		got = wire.RST
	case err != io.EOF:
		t.Fatalf("%v in place of a %s", err, how)
	}
	if got != how {
		t.Fatalf("closed by %s, want %s", got, how)
	}
}

// hangUp closes the client's side by the given segment.
func hangUp(t testing.TB, c *net.TCPConn, how wire.How) {
	t.Helper()
	if how == wire.RST {
		if err := c.SetLinger(0); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

// opening is the first request of a script.
func opening(s wire.Script) []byte {
	return append(s.Append(nil), make([]byte, s.RequestSize)...)
}

func isReset(err error) bool { return errors.Is(err, syscall.ECONNRESET) }
