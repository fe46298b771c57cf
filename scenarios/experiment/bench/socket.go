package bench

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/internal/kernel/sockdiag"
)

// Port is where servers listen in a lab; more of them listen at the next ports.
const Port = 9000

// Ports are all at which an experiment may listen in a lab.
var Ports = sockdiag.Ports{Low: Port, High: Port + 99}

// Socket is a TCP socket on one of the hosts. It never blocks.
type Socket struct {
	bench *Bench
	Side  Side
	fd    int
	*End  // of its connection; nil before connect
}

// Socket makes a socket.
func (b *Bench) Socket(of Side) *Socket {
	s := &Socket{bench: b, Side: of}
	b.on(of, "make a socket", func() (err error) {
		domain := unix.AF_INET
		if b.IPv6 {
			domain = unix.AF_INET6
		}
		s.fd, err = unix.Socket(domain, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		return os.NewSyscallError("socket", err)
	})
	b.fds = append(b.fds, s.fd)
	for _, name := range slices.Sorted(maps.Keys(b.Options[of])) {
		s.Set(name, 0)
	}
	return s
}

func (b *Bench) closeSockets() {
	for _, fd := range b.fds {
		_ = unix.Close(fd) // the experiment is over
	}
}

// Descriptors is about how many more sockets this process may open.
func (b *Bench) Descriptors() int {
	const others = 64 // streams, epoll, what the runtime needs
	var limit unix.Rlimit
	b.Check(unix.Getrlimit(unix.RLIMIT_NOFILE, &limit), "read the limit of descriptors")
	return int(min(limit.Cur, 1<<20)) - len(b.fds) - others
}

// Local is the socket's own address.
func (s *Socket) Local() netip.AddrPort {
	a, err := unix.Getsockname(s.fd)
	s.bench.Check(err, "getsockname")
	return addrPort(a)
}

// Bind gives it a port of its side's address; the kernel chooses one if that is zero.
func (s *Socket) Bind(port uint16) error { return s.BindTo(s.bench.Address(s.Side, port)) }

// BindTo gives it an address.
func (s *Socket) BindTo(a netip.AddrPort) error { return unix.Bind(s.fd, sockaddr(a)) }

// Listen makes a server's socket that listens: in a lab at the port, on loopback at one that the
// kernel chooses.
func (b *Bench) Listen(port uint16, backlog int) *Socket {
	if b.Lab == nil {
		port = 0
	}
	s := b.Socket(Server)
	s.ListenAt(b.Address(Server, port), backlog)
	return s
}

// ListenAt lets the socket listen at an address.
func (s *Socket) ListenAt(a netip.AddrPort, backlog int) {
	if a.Port() != 0 {
		s.Set("SO_REUSEADDR", 1)
	}
	s.bench.Check(s.BindTo(a), "bind")
	s.bench.Check(unix.Listen(s.fd, backlog), "listen")
}

// Connect begins a handshake with a port of the other side.
func (s *Socket) Connect(port uint16) {
	s.bench.Check(s.ConnectTo(s.bench.Address(s.Side.Other(), port)), "connect")
}

// ConnectTo begins a handshake with an address.
func (s *Socket) ConnectTo(to netip.AddrPort) error {
	if err := unix.Connect(s.fd, sockaddr(to)); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return err
	}
	s.End = s.bench.end(s.Side, s.Local(), to)
	if to.Addr() == s.bench.Address(s.Side.Other(), 0).Addr() {
		s.bench.watch(s.End)
		s.bench.watch(s.Peer)
	}
	return nil
}

// Ready tells whether one of the poll(2) events is there.
func (s *Socket) Ready(events int16) bool {
	p := []unix.PollFd{{Fd: int32(s.fd), Events: events}}
	n, err := unix.Poll(p, 0)
	if errors.Is(err, unix.EINTR) {
		return false
	}
	s.bench.Check(err, "poll")
	return n > 0
}

// Connected tells whether connect() has ended, and with which error.
func (s *Socket) Connected() (over bool, err error) {
	if !s.Ready(unix.POLLOUT) {
		return false, nil
	}
	code, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	s.bench.Check(err, "SO_ERROR")
	if code != 0 {
		return true, unix.Errno(code)
	}
	return true, nil
}

// AwaitConnected waits until connect() has succeeded.
func (s *Socket) AwaitConnected() {
	s.bench.Await("a connection", func() bool {
		over, err := s.Connected()
		s.bench.Check(err, "connect")
		return over
	})
}

// Accept takes a connection if there is one.
func (s *Socket) Accept() (*Socket, bool) {
	fd, from, err := unix.Accept4(s.fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ECONNABORTED) {
		return nil, false
	}
	s.bench.Check(err, "accept")
	s.bench.fds = append(s.bench.fds, fd)
	a := &Socket{bench: s.bench, Side: s.Side, fd: fd}
	a.End = s.bench.end(s.Side, a.Local(), addrPort(from))
	return a, true
}

// Pair makes a connection, from a port that the client's kernel chooses. Its handshake is not watched.
func (b *Bench) Pair(l *Socket) (c, s *Socket) {
	b.Blind = true
	c = b.Socket(Client)
	c.Connect(l.Local().Port())
	s = c.Meet(l)
	b.Blind = false
	b.Look()
	return c, s
}

// Meet waits until a connection of the socket is accepted, and returns its other end.
func (s *Socket) Meet(l *Socket) (peer *Socket) {
	s.AwaitConnected()
	s.bench.Await("accept()", func() (ok bool) {
		peer, ok = l.Accept()
		return ok
	})
	return peer
}

// Queue is what the kernel shows of a listening socket's accept queue.
func (s *Socket) Queue() sockdiag.Listener {
	at := s.Local()
	all := s.bench.Listeners(s.Side, sockdiag.Ports{Low: at.Port(), High: at.Port()})
	if i := slices.IndexFunc(all, func(l sockdiag.Listener) bool { return l.Addr == at }); i >= 0 {
		return all[i]
	}
	return sockdiag.Listener{}
}

// Fill makes connections that the server does not accept, one by one, until the listening socket drops
// a SYN. It returns those that are connected, and the one that is not; nil if there were most before.
func (s *Socket) Fill(most int) (all []*Socket, left *Socket) {
	b := s.bench
	defer func(was bool) { b.Blind = was }(b.Blind)
	b.Blind = true
	overflows := func() int64 { return b.Counter(s.Side, "TcpExt", "ListenOverflows") }
	port, drops, before := s.Local().Port(), s.Queue().Drops, overflows()
	// In a lab the socket also drops a SYN that comes again before its handshake has ended
	// (tcp_check_req), and the host counts what other queues drop: an overflow of this queue is both.
	// Over loopback no SYN comes twice, and the host's count has the overflows of other processes.
	full := func() bool { return s.Queue().Drops > drops && (b.Lab == nil || overflows() > before) }
	for range most {
		c, connected := b.Socket(Client), false
		c.Connect(port)
		b.Await("an answer", func() bool {
			connected, _ = c.Connected()
			return connected || full()
		})
		if !connected {
			return all, c
		}
		all = append(all, c)
	}
	return all, nil
}

// Info is TCP_INFO.
func (s *Socket) Info() *unix.TCPInfo {
	info, err := unix.GetsockoptTCPInfo(s.fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	s.bench.Check(err, "read TCP_INFO")
	return info
}

// WindowClosed tells whether the kernel holds bytes back because the peer's window has no room:
// nothing is in flight, something waits, no segment fits, and the timer of window probes runs. That
// timer alone shows nothing: it runs at other times, too.
func (s *Socket) WindowClosed() bool {
	info := s.Info()
	return info.Unacked == 0 && info.Notsent_bytes > 0 && info.Snd_wnd < info.Snd_mss && s.Seen.Timer == sockdiag.ProbeTimer
}

// Write writes as many of n bytes as there is room for; EAGAIN means none.
func (s *Socket) Write(n int) (int, error) {
	return unix.SendmsgN(s.fd, make([]byte, n), nil, nil, unix.MSG_NOSIGNAL)
}

// Send is Write, and returns 0 for EAGAIN. Another error ends the experiment.
func (s *Socket) Send(n int) int {
	done, err := s.Write(n)
	if errors.Is(err, unix.EAGAIN) {
		return 0
	}
	s.bench.Check(err, "send")
	return done
}

// Receive reads what there is. end means that no more comes, because of err or of the peer's FIN.
func (s *Socket) Receive() (n int, end bool, err error) {
	buffer := make([]byte, 1<<16)
	for {
		k, err := unix.Read(s.fd, buffer)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return n, false, nil
		case err != nil || k == 0:
			return n, true, err
		}
		n += k
	}
}

// Take reads what there is, and returns how much. An error ends the experiment.
func (s *Socket) Take() int {
	n, _, err := s.Receive()
	s.bench.Check(err, "read")
	return n
}

// Transfer sends n bytes to the other end of the connection, which reads them.
func (s *Socket) Transfer(n int, to *Socket) (received int) {
	sent := 0
	s.bench.Await("all that was sent", func() bool {
		if sent < n {
			sent += s.Send(n - sent)
		}
		received += to.Take()
		return received >= n
	})
	return received
}

// Ended waits for the end of the stream, and returns the error that ended it.
func (s *Socket) Ended(most time.Duration) (err error) {
	s.bench.AwaitFor(most, "the end of the connection", func() (end bool) {
		_, end, err = s.Receive()
		return end
	})
	return err
}

// Shutdown ends the socket's half of the connection.
func (s *Socket) Shutdown() {
	s.bench.Act(s.Side, "shutdown(SHUT_WR)")
	s.bench.Check(unix.Shutdown(s.fd, unix.SHUT_WR), "shutdown")
}

// Close closes the socket.
func (s *Socket) Close() {
	s.bench.Act(s.Side, "close()")
	s.Drop()
}

// Drop closes the socket without a record.
func (s *Socket) Drop() {
	s.bench.fds = slices.DeleteFunc(s.bench.fds, func(fd int) bool { return fd == s.fd })
	s.bench.Check(unix.Close(s.fd), "close")
}

// Abort closes the socket by RST, so that it leaves no TIME_WAIT.
func (s *Socket) Abort() {
	s.bench.Check(unix.SetsockoptLinger(s.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}), "set SO_LINGER")
	s.Drop()
}

// Vanish removes the socket without a segment to the peer, as a crash does (TCP_REPAIR).
func (s *Socket) Vanish() {
	s.Set("TCP_REPAIR", 1)
	s.Drop()
}

// ErrorName is the name of an error of the kernel, as in the manual: ECONNRESET.
func ErrorName(err error) string {
	var errno unix.Errno
	if errors.As(err, &errno) {
		return unix.ErrnoName(errno)
	}
	return fmt.Sprint(err)
}
