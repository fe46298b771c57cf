package experiment

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// socket is a TCP socket on one of the hosts. It never blocks.
type socket struct {
	bench *bench
	side  side
	fd    int
	peer  netip.AddrPort
}

// socket makes one.
func (b *bench) socket(of side) *socket {
	s := &socket{bench: b, side: of}
	b.check(b.on(of, func() (err error) {
		s.fd, err = unix.Socket(b.domain(), unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		return os.NewSyscallError("socket", err)
	}), "make a socket")
	b.fds = append(b.fds, s.fd)
	b.options[of].apply(s)
	return s
}

func (b *bench) closeSockets() {
	for _, fd := range b.fds {
		_ = unix.Close(fd) // the story is over
	}
}

func (b *bench) address(of side, p uint16) netip.AddrPort {
	if b.lab == nil {
		return netip.AddrPortFrom(Loopback[of], p)
	}
	return netip.AddrPortFrom(b.addrOf(b.host(of)), p)
}

func (s *socket) set(level, option, value int, name string) {
	if chosen, ok := s.bench.options[s.side][name]; ok {
		value = chosen
	}
	s.bench.check(unix.SetsockoptInt(s.fd, level, option, value), "set "+name)
}

func (s *socket) local() netip.AddrPort {
	a, err := unix.Getsockname(s.fd)
	s.bench.check(err, "getsockname")
	return addrPort(a)
}

// bind gives it a port, or leaves that to the kernel where p is zero.
func (s *socket) bind(p uint16) error {
	if p != 0 {
		s.set(unix.SOL_SOCKET, unix.SO_REUSEADDR, 1, "SO_REUSEADDR")
	}
	return unix.Bind(s.fd, sockaddr(s.bench.address(s.side, p)))
}

// listen makes a server's socket that listens at a port.
func (b *bench) listen(p uint16, backlog int) *socket {
	s := b.socket(server)
	b.check(s.bind(p), "bind")
	b.check(unix.Listen(s.fd, backlog), "listen")
	return s
}

// connect begins a handshake with the other side.
func (s *socket) connect(p uint16) error { return s.connectTo(s.bench.address(s.side.other(), p)) }

func (s *socket) connectTo(to netip.AddrPort) error {
	s.peer = to
	if err := unix.Connect(s.fd, sockaddr(to)); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return err
	}
	if to.Addr() == s.bench.address(s.side.other(), 0).Addr() {
		s.bench.watch(s.side, s.local(), to)
	}
	return nil
}

// ready tells whether events are there.
func (s *socket) ready(events int16) bool {
	p := []unix.PollFd{{Fd: int32(s.fd), Events: events}}
	n, err := unix.Poll(p, 0)
	if errors.Is(err, unix.EINTR) {
		return false
	}
	s.bench.check(err, "poll")
	return n > 0
}

// connected tells whether a handshake is over on this side, and how it ended.
func (s *socket) connected() (over bool, err error) {
	if !s.ready(unix.POLLOUT) {
		return false, nil
	}
	code, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	s.bench.check(err, "SO_ERROR")
	if code != 0 {
		return true, unix.Errno(code)
	}
	return true, nil
}

// awaitConnection waits until the handshake is over; a connect() that fails is an error.
func (s *socket) awaitConnection() {
	s.bench.await("a connection", func() bool {
		over, err := s.connected()
		s.bench.check(err, "connect")
		return over
	})
}

// accept takes a connection, if there is one.
func (s *socket) accept() (*socket, bool) {
	fd, from, err := unix.Accept4(s.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ECONNABORTED) {
		return nil, false
	}
	s.bench.check(err, "accept")
	s.bench.fds = append(s.bench.fds, fd)
	return &socket{bench: s.bench, side: s.side, fd: fd, peer: addrPort(from)}, true
}

// pair makes a connection, from a port that the client's kernel chooses.
func (b *bench) pair(l *socket) (c, s *socket) {
	c = b.socket(client)
	b.blind = true // how a connection begins is another story
	b.check(c.connect(l.local().Port()), "connect")
	c.awaitConnection()
	b.await("accept()", func() (ok bool) {
		s, ok = l.accept()
		return ok
	})
	b.blind = false
	b.look()
	return c, s
}

// send writes as much as there is room for.
func (s *socket) send(n int) int {
	done, err := unix.SendmsgN(s.fd, make([]byte, n), nil, nil, unix.MSG_NOSIGNAL)
	if errors.Is(err, unix.EAGAIN) {
		return 0
	}
	s.bench.check(err, "send")
	return done
}

// receive reads what there is. The end of the stream and errors are told apart.
func (s *socket) receive() (n int, end bool, err error) {
	buffer := make([]byte, 1<<16)
	for {
		k, err := unix.Read(s.fd, buffer)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return n, false, nil
		case err != nil:
			return n, true, err
		case k == 0:
			return n, true, nil
		}
		n += k
	}
}

// shutdown ends the own half of the connection.
func (s *socket) shutdown() {
	s.bench.act(s.side, "shutdown(SHUT_WR)")
	s.bench.check(unix.Shutdown(s.fd, unix.SHUT_WR), "shutdown")
}

// close gives the socket up.
func (s *socket) close() {
	s.bench.act(s.side, "close()")
	s.drop()
}

func (s *socket) drop() {
	for i, fd := range s.bench.fds {
		if fd == s.fd {
			s.bench.fds = append(s.bench.fds[:i], s.bench.fds[i+1:]...)
			break
		}
	}
	s.bench.check(unix.Close(s.fd), "close")
}

// abort gives it up by RST, so that nothing stays behind.
func (s *socket) abort() {
	s.bench.check(unix.SetsockoptLinger(s.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}), "set SO_LINGER")
	s.drop()
}

// vanish takes the socket away without a word to the peer, as a crash does (TCP_REPAIR).
func (s *socket) vanish() {
	s.set(unix.IPPROTO_TCP, unix.TCP_REPAIR, 1, "TCP_REPAIR")
	s.drop()
}

// keepAlive turns probes on, as the host's settings have them.
func (s *socket) keepAlive() { s.set(unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1, "SO_KEEPALIVE") }

// transfer sends n bytes to the other end of a connection, which reads them.
func (s *socket) transfer(n int, to *socket) (received int) {
	sent := 0
	s.bench.await("all that was sent", func() bool {
		if sent < n {
			sent += s.send(n - sent)
		}
		got, _, err := to.receive()
		s.bench.check(err, "read")
		received += got
		return received >= n
	})
	return received
}

// ended waits for the end of the stream, or an error.
func (s *socket) ended(most time.Duration) (err error) {
	s.bench.awaitFor(most, "the end of the connection", func() (end bool) {
		_, end, err = s.receive()
		return end
	})
	return err
}

// name is the error's, as the manual has it.
func name(err error) string {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return unix.ErrnoName(errno)
	}
	return fmt.Sprint(err)
}
