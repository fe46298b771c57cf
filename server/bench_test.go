package server

import (
	"io"
	"testing"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"tcpbench/internal/values"
	"tcpbench/internal/wire"
)

// stub is what the engine needs of a gnet connection, without gnet.
type stub struct {
	gnet.Conn
	fd      int
	in      []byte
	context any
}

func (s *stub) Fd() int                   { return s.fd }
func (s *stub) Context() any              { return s.context }
func (s *stub) SetContext(c any)          { s.context = c }
func (s *stub) Next(int) ([]byte, error)  { return s.in, nil }
func (s *stub) EventLoop() gnet.EventLoop { return nil }

// shortLife is what the engine does for one short connection, write() included.
func shortLife(tb testing.TB) func() {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		unix.Close(pair[0])
		unix.Close(pair[1])
	})
	e := newEngine(&Server{cfg: Config{HeaderTimeout: defaultTimeout, MaxRequest: values.MaxMessage, MaxResponse: values.MaxMessage}, ceiling: 1 << 20}, 0)
	c := &stub{fd: pair[0], in: opening(wire.Script{RequestSize: 64, ResponseSize: 64, Exchanges: 1})}
	buf := make([]byte, 64)
	return func() {
		e.OnOpen(c)
		e.OnTraffic(c)
		e.OnClose(c, io.ErrUnexpectedEOF)
		if n, err := unix.Read(pair[1], buf); n != 64 || err != nil {
			tb.Fatalf("%d bytes of response, %v", n, err)
		}
	}
}

func TestShortLifeDoesNotAllocate(t *testing.T) {
	if n := testing.AllocsPerRun(1000, shortLife(t)); n != 0 {
		t.Errorf("%v allocations per connection", n)
	}
}

func BenchmarkEngine(b *testing.B) {
	life := shortLife(b)
	b.ReportAllocs()
	for b.Loop() {
		life()
	}
}

func BenchmarkHandle(b *testing.B) {
	stream := opening(wire.Script{RequestSize: 64, ResponseSize: 64, Exchanges: 1})
	b.ReportAllocs()
	for b.Loop() {
		var c conn
		c.handle(stream, &testLimits)
		c.leave(wire.FIN)
	}
}

// BenchmarkShort is a whole short connection, client included, one at a time.
func BenchmarkShort(b *testing.B) {
	for _, script := range []wire.Script{
		{RequestSize: 64, ResponseSize: 64, Exchanges: 1, CloseBy: wire.Client, CloseHow: wire.FIN},
		{RequestSize: 64, ResponseSize: 64, Exchanges: 1, CloseBy: wire.Client, CloseHow: wire.RST},
		{RequestSize: 64, ResponseSize: 64, Exchanges: 1, CloseBy: wire.Server, CloseHow: wire.FIN},
		{RequestSize: 64, ResponseSize: 64, Exchanges: 1, CloseBy: wire.Server, CloseHow: wire.RST},
	} {
		b.Run(script.CloseBy.String()+"-"+script.CloseHow.String(), func(b *testing.B) {
			s := start(b, Config{Loops: 1})
			addr := s.Addrs()[0]
			sa := &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}
			stream := opening(script)
			buf := make([]byte, 128)
			b.ReportAllocs()
			for b.Loop() {
				if err := shortClient(sa, stream, buf, script); err != nil {
					b.Fatal(err)
				}
			}
			awaitClosed(b, s, Completed, s.Stats().Accepted)
		})
	}
}

// shortClient blocks, which costs a benchmark less than a poller does.
func shortClient(sa unix.Sockaddr, stream, buf []byte, script wire.Script) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.Connect(fd, sa); err != nil {
		return err
	}
	if _, err := unix.Write(fd, stream); err != nil {
		return err
	}
	if n, err := unix.Read(fd, buf); err != nil || n != int(script.ResponseSize) {
		return io.ErrUnexpectedEOF
	}
	switch {
	case script.CloseBy == wire.Server:
		unix.Read(fd, buf) // until FIN or RST, either of which is the end
	case script.CloseHow == wire.RST:
		resetOnClose(fd)
	}
	return nil
}
