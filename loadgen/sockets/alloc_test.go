package sockets

import (
	"errors"
	"net/netip"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/internal/alone"
	"tcpbench/internal/epoll"
	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
)

// rawEcho is a server that does not allocate: one thread, one epoll.
type rawEcho struct {
	poller   *epoll.Poller
	listener int
	open     [1 << 16]bool // by descriptor
	buffer   [4096]byte
	stop     atomic.Bool
	done     chan error
}

// serveRaw starts a rawEcho that lives as long as the test.
func serveRaw(t testing.TB) netip.AddrPort {
	t.Helper()
	s := &rawEcho{done: make(chan error)}
	at := newSockaddr(netip.MustParseAddrPort("127.0.0.1:0"))
	fd, errno := socket(at.family, unix.IPPROTO_TCP)
	if errno == 0 {
		errno = bind(fd, at)
	}
	if errno != 0 {
		t.Fatal(errno)
	}
	if err := unix.Listen(fd, 4096); err != nil {
		t.Fatal(err)
	}
	s.listener = fd
	var err error
	if s.poller, err = epoll.NewPoller(64); err != nil {
		t.Fatal(err)
	}
	if errno := s.poller.Add(fd, epoll.In, epoll.Token{Slot: int32(fd)}); errno != 0 {
		t.Fatal(errno)
	}
	go s.live()
	t.Cleanup(func() {
		s.stop.Store(true)
		s.poller.Wake()
		if err := <-s.done; err != nil {
			t.Error(err)
		}
	})
	return boundTo(t, fd)
}

func (s *rawEcho) live() {
	runtime.LockOSThread()
	var err error
	for err == nil && !s.stop.Load() {
		var n int
		n, err = s.poller.Wait(time.Hour)
		for i := range n {
			if e, ok := s.poller.Event(i); ok {
				s.handle(int(e.Slot))
			}
		}
	}
	for fd, open := range s.open {
		if open {
			closeSocket(fd)
		}
	}
	closeSocket(s.listener)
	s.done <- errors.Join(err, s.poller.Close())
}

// handle acts on one event: a connection to accept, or something to read.
func (s *rawEcho) handle(fd int) {
	if fd == s.listener {
		c, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(fd), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		if errno == 0 {
			s.open[c] = true
			_ = s.poller.Add(int(c), epoll.In, epoll.Token{Slot: int32(c)})
		}
		return
	}
	n, errno := read(fd, s.buffer[:])
	if errno == 0 && n > 0 {
		if _, errno = send(fd, s.buffer[:n]); errno == 0 {
			return
		}
	}
	s.open[fd] = false
	closeSocket(fd)
}

// allocLives are lives that must not allocate.
var allocLives = []struct {
	name string
	loadgen.Config
}{
	{"closed, RST", loadgen.Config{Process: pace.Closed, Lifecycle: echo(1, wire.Client, wire.RST)}},
	{"closed, FIN", loadgen.Config{Process: pace.Closed, Lifecycle: echo(1, wire.Client, wire.FIN)}},
	{"closed, half-close", loadgen.Config{Process: pace.Closed, Lifecycle: loadgen.Lifecycle{Request: pinged, Response: exactly(4), CloseWait: true}}},
	{"constant, RST", loadgen.Config{Process: pace.Constant, Profile: pace.Steady(pace.MaxRate / 1e5), Lifecycle: echo(1, wire.Client, wire.RST)}},
	{"poisson, RST", loadgen.Config{Process: pace.Poisson, Profile: pace.Steady(pace.MaxRate / 1e5), Lifecycle: echo(1, wire.Client, wire.RST)}},
	{"a hello, and requests in rotation", loadgen.Config{Process: pace.Closed, Seed: 7, Lifecycle: loadgen.Lifecycle{
		Hello:   &loadgen.Greeting{Request: []byte("AUTH\r\n"), Response: loadgen.Until{Kind: loadgen.Match, Pattern: "AUTH\r\n"}},
		Request: pinged, Again: pinged, Exchanges: 2, CloseHow: wire.RST, Response: loadgen.Until{Kind: loadgen.Match, Pattern: `[0-9a-f]+\r\n$`},
		Rotation: []loadgen.Template{
			{Text: []byte("get 0000\r\n"), Fields: []loadgen.Field{{Kind: loadgen.Counter, At: 4, Width: 4}}},
			{Text: []byte("set 00000000 0000\r\n"), Fields: []loadgen.Field{{Kind: loadgen.RandomDec, At: 4, Width: 8}, {Kind: loadgen.RandomHex, At: 13, Width: 4}}},
		},
	}}},
	{"only connects", loadgen.Config{Process: pace.Closed, Lifecycle: loadgen.Lifecycle{ConnectOnly: true, CloseHow: wire.RST}}},
}

// onLoop is a loop against a raw server, on the thread of the test.
func onLoop(t testing.TB, cfg loadgen.Config, count uint64) *loop {
	t.Helper()
	// With fewer addresses most of the time would go into the search for a port.
	cfg.Targets, cfg.Sources = to(serveRaw(t)), sources(t, "127.0.0.2-127.0.0.65")
	cfg.Connections, cfg.Count, cfg.Timeout, cfg.OnExhausted = 32, count, patience, loadgen.CountExhausted
	l, _ := manualLoop(t, cfg)
	return l
}

// turnUntilOver is what live does, for the connections of a test.
func turnUntilOver(t testing.TB, l *loop) {
	for !l.over() {
		if err := l.round(); err != nil {
			t.Fatal(err)
		}
	}
}

// BenchmarkConnection is the whole life of a connection, on one loop with 32 in flight against one
// server thread.
func BenchmarkConnection(b *testing.B) {
	for _, c := range allocLives {
		if c.Process != pace.Closed {
			continue // its speed is its rate
		}
		b.Run(c.name, func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			l := onLoop(b, c.Config, uint64(b.N))
			before := threadCPU()
			b.ReportAllocs()
			b.ResetTimer()
			turnUntilOver(b, l)
			b.StopTimer()
			if n := l.ends.Succeeded(); n != uint64(b.N) {
				b.Errorf("%d of %d succeeded: %v", n, b.N, l.ends.Failed())
			}
			b.ReportMetric(float64(threadCPU()-before)/float64(b.N), "client-cpu-ns/op")
		})
	}
}

// Connections allocate nothing: thousands make no more objects than a few.
func TestConnectionsAllocateNothing(t *testing.T) {
	// What the runtime allocates for itself meanwhile.
	const few = 50
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	for _, c := range allocLives {
		t.Run(c.name, func(t *testing.T) {
			if c.Lifecycle.Response.Kind == loadgen.Match && alone.UnderRace() {
				t.Skip("NOT TESTED: needs a build without the race detector, which empties the pools of package regexp")
			}
			watchLeaks(t)
			count := uint64(5000)
			if c.name == "closed, RST" {
				count = 20_000
			}
			l := onLoop(t, c.Config, count)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			turnUntilOver(t, l)
			runtime.ReadMemStats(&after)
			if n := after.Mallocs - before.Mallocs; n > few {
				t.Errorf("%d connections made %d objects of %d bytes", count, n, after.TotalAlloc-before.TotalAlloc)
			} else {
				t.Logf("%d connections made %d objects", count, n)
			}
			if tally := l.result().Tally; tally.Succeeded != count || tally.Balance() != nil {
				t.Errorf("%+v", tally)
			}
		})
	}
}

// An answer in several reads is kept to be matched. A slot that is used again uses the same memory.
func TestMatchingReusesMemory(t *testing.T) {
	life := loadgen.Lifecycle{Request: pinged, Response: matching("p[aeiou]ng$"), CloseHow: wire.RST}
	e := newEnding(life.Response)
	r := newReplies(&life, &script{until: e}, 1)
	var memory *byte
	for range 3 {
		for _, piece := range []string{"p", "i", "n", "g"} {
			if whole, _ := r.reached(0, &e, []byte(piece), 0, false); whole != (piece == "g") {
				t.Errorf("%q ends the answer: %v", piece, whole)
			}
		}
		now := &r.seen[0][:1][0]
		if memory != nil && now != memory {
			t.Error("the slot has new memory")
		}
		memory = now
		r.forget(0)
	}
}
