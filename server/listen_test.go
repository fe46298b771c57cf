package server

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"tcpbench/internal/alone"
	"tcpbench/internal/wire"
)

// sockets returns this process's TCP sockets that listen on one of the ports, or
// are accepted from it.
func sockets(t *testing.T, addrs []netip.AddrPort, listening bool) (fds []int) {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	ports := map[int]bool{}
	for _, addr := range addrs {
		ports[int(addr.Port())] = true
	}
	for _, entry := range entries {
		fd, _ := strconv.Atoi(entry.Name())
		on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
		if err != nil || (on == 1) != listening {
			continue
		}
		switch sa, _ := unix.Getsockname(fd); sa := sa.(type) {
		case *unix.SockaddrInet4:
			if ports[sa.Port] {
				fds = append(fds, fd)
			}
		case *unix.SockaddrInet6:
			if ports[sa.Port] {
				fds = append(fds, fd)
			}
		}
	}
	return fds
}

// A server that may choose its port takes none that connect() chooses from, as long as there are
// others.
func TestChosenPortIsNoClients(t *testing.T) {
	if !alone.Namespace(t, "net.ipv4.ip_local_port_range=10000 60000", "net.ipv4.ip_local_reserved_ports=60001-65000") {
		return
	}
	s := start(t, Config{Addrs: loopback(1), Loops: 2})
	if port := s.Addrs()[0].Port(); port <= 65000 {
		t.Errorf("port %d is one of a client's", port)
	}
	alone.Sysctl(t, "net.ipv4.ip_local_port_range=1024 65535")
	if port := start(t, Config{Addrs: loopback(1), Loops: 2}).Addrs()[0].Port(); port == 0 {
		t.Error("no port")
	}
}

func TestBacklogAndLingerReachEverySocket(t *testing.T) {
	s := start(t, Config{Addrs: loopback(16), Loops: 3, Backlog: 17, Linger: new(0)})
	fds := sockets(t, s.Addrs(), true)
	if len(fds) != 16*3 {
		t.Fatalf("%d listening sockets, want 48", len(fds))
	}
	for _, fd := range fds {
		if n := backlog(t, fd); n != 17 {
			t.Errorf("backlog %d, want 17", n)
		}
		var linger unix.Linger
		if err := getLinger(fd, &linger); err != nil || linger.Onoff != 1 || linger.Linger != 0 {
			t.Errorf("linger %+v, %v", linger, err)
		}
	}
}

// backlog is the accept queue of a listening socket as the kernel has granted it.
func backlog(t *testing.T, fd int) int {
	t.Helper()
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		t.Fatal(err)
	}
	return int(info.Sacked) // of a listening socket: sk_max_ack_backlog
}

func getLinger(fd int, l *unix.Linger) error {
	onoff, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_LINGER) // two int32
	l.Onoff, l.Linger = int32(onoff), int32(onoff>>32)
	return err
}

func TestBacklogIsSomaxconnByDefault(t *testing.T) {
	text, err := os.ReadFile("/proc/sys/net/core/somaxconn")
	if err != nil {
		t.Fatal(err)
	}
	want, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	for _, fd := range sockets(t, start(t, Config{}).Addrs(), true) {
		if n := backlog(t, fd); n != want {
			t.Errorf("backlog %d, want %d", n, want)
		}
	}
}

func TestLingerIsInherited(t *testing.T) {
	s := start(t, Config{Linger: new(0)})
	c := dial(t, s)
	write(t, c, opening(wire.Script{ResponseSize: 1, Exchanges: 1, CloseBy: wire.Server}))
	expect(t, c, 1)
	expectClose(t, c, wire.RST) // FIN by the script, RST by the server's linger
	awaitClosed(t, s, Completed, 1)
}

func TestEveryAddressServesOnEveryLoop(t *testing.T) {
	addrs := append(loopback(3), netip.MustParseAddrPort("127.0.0.2:0"), netip.MustParseAddrPort("0.0.0.0:0"))
	if ip6() {
		addrs = append(addrs, netip.MustParseAddrPort("[::1]:0"), netip.MustParseAddrPort("[::]:0"),
			netip.MustParseAddrPort("[::ffff:127.0.0.1]:0"))
	}
	s := start(t, Config{Addrs: addrs, Loops: 3})
	if got := s.Addrs(); len(got) != len(addrs) {
		t.Fatalf("addresses %v", got)
	}
	const each = 30
	for _, addr := range s.Addrs() {
		if addr.Port() == 0 {
			t.Fatalf("no port in %s", addr)
		}
		for range each {
			c, err := net.Dial("tcp", addr.String())
			if err != nil {
				t.Fatal(err)
			}
			write(t, c, opening(wire.Script{ResponseSize: 1, Exchanges: 1, CloseBy: wire.Server}))
			expect(t, c, 1)
			c.Close()
		}
	}
	awaitClosed(t, s, Completed, uint64(each*len(addrs)))
	for _, e := range s.engines {
		if e.counters.accepted.Load() == 0 {
			t.Errorf("loop %d has accepted nothing", e.index)
		}
	}
}

func ip6() bool {
	l, err := net.Listen("tcp", "[::1]:0")
	if err == nil {
		l.Close()
	}
	return err == nil
}

// SO_REUSEPORT would let two servers share a port in silence.
func TestAddressInUse(t *testing.T) {
	other := start(t, Config{})
	before := descriptors()
	_, err := Start(Config{Addrs: append(loopback(1), other.Addrs()...), Loops: 2})
	if !errors.Is(err, unix.EADDRINUSE) || !strings.Contains(err.Error(), other.Addrs()[0].String()) {
		t.Errorf("error %v", err)
	}
	if after := descriptors(); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

// Servers that start at the same moment must not share a port either.
func TestOneOfSeveralServersGetsAPort(t *testing.T) {
	const several, rounds = 4, 20
	for range rounds {
		addrs := freePort(t)
		var group sync.WaitGroup
		var servers [several]*Server
		var errs [several]error
		begin := make(chan struct{})
		for i := range several {
			group.Go(func() {
				<-begin
				servers[i], errs[i] = Start(Config{Addrs: addrs, Loops: 2})
			})
		}
		close(begin)
		group.Wait()
		started := 0
		for i, s := range servers {
			switch {
			case s != nil:
				started++
				stop(t, s)
			case !errors.Is(errs[i], unix.EADDRINUSE):
				t.Errorf("error %v", errs[i])
			}
		}
		if started != 1 {
			t.Fatalf("%d of %d servers have started on %v", started, several, addrs)
		}
	}
}

// freePort is an address that nobody listens on.
func freePort(t *testing.T) []netip.AddrPort {
	t.Helper()
	held, err := claimAll(loopback(1))
	if err != nil {
		t.Fatal(err)
	}
	held.release()
	return held.addrs
}

// Servers that start with a port of the kernel's choice each get one of their own.
func TestSeveralServersOnFreePorts(t *testing.T) {
	const several = 16
	var group sync.WaitGroup
	var servers [several]*Server
	for i := range several {
		group.Go(func() {
			s, err := Start(Config{Addrs: loopback(2), Loops: 1})
			if err != nil {
				t.Error(err)
			}
			servers[i] = s
		})
	}
	group.Wait()
	seen := map[netip.AddrPort]bool{}
	for _, s := range servers {
		if s == nil {
			continue
		}
		for _, a := range s.Addrs() {
			if seen[a] {
				t.Errorf("%s twice", a)
			}
			seen[a] = true
		}
		stop(t, s)
	}
}

// A server that closes first leaves TIME_WAIT behind; the next must start all the same.
func TestPortCanBeTakenAgain(t *testing.T) {
	s := start(t, Config{})
	serves(t, s)
	addrs := s.Addrs()
	stop(t, s)
	serves(t, start(t, Config{Addrs: addrs}))
}

func TestConfigurationsThatCannotWork(t *testing.T) {
	addr := netip.MustParseAddrPort("127.0.0.1:0")
	free, err := net.Listen("tcp", "127.0.0.1:0") // a port that needs no privilege, and that is free
	if err != nil {
		t.Fatal(err)
	}
	twice := free.Addr().(*net.TCPAddr).AddrPort()
	free.Close()
	for _, tt := range []struct {
		name string
		cfg  Config
		want string
	}{
		{"no address", Config{}, "no address"},
		{"not an address", Config{Addrs: []netip.AddrPort{{}}}, "not an IP address"},
		{"twice", Config{Addrs: []netip.AddrPort{twice, twice}}, "given twice"},
		{"no such address", Config{Addrs: []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:0")}}, "no interface"},
		{"no such zone", Config{Addrs: []netip.AddrPort{netip.MustParseAddrPort("[fe80::1%nope]:0")}}, "no such network interface"},
		{"loops", Config{Addrs: []netip.AddrPort{addr}, Loops: -1}, "loops -1"},
		{"backlog", Config{Addrs: []netip.AddrPort{addr}, Backlog: -1}, "backlog -1"},
		{"linger", Config{Addrs: []netip.AddrPort{addr}, Linger: new(-1)}, "linger -1"},
		{"reserve", Config{Addrs: []netip.AddrPort{addr}, Reserve: 1 << 30}, "raise it (ulimit -n)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Start(tt.cfg)
			if err == nil {
				stop(t, s)
				t.Fatal("started")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %q, want %q in it", err, tt.want)
			}
		})
	}
}

func TestErrorsNameARemedy(t *testing.T) {
	for _, errno := range []unix.Errno{unix.EADDRINUSE, unix.EACCES, unix.EADDRNOTAVAIL, unix.EAFNOSUPPORT, unix.EMFILE, unix.ENFILE} {
		if err := listenError("[::1]:80", os.NewSyscallError("bind", errno)); !errors.Is(err, errno) || remedy(err) == "" {
			t.Errorf("%v", err)
		}
	}
}

// What gnet calls the end of the stream may be a RST that it has not read.
func TestPendingErrorOfASocket(t *testing.T) {
	for _, how := range []wire.How{wire.FIN, wire.RST} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		peer, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		hangUp(t, c.(*net.TCPConn), how)
		raw, err := peer.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var got conn
		raw.Control(func(fd uintptr) {
			// Whichever segment it is, it ends the poll.
			unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}, -1)
			play(&got, []byte("tb"))
			got.leaveBy(pending(int(fd)))
		})
		if want := map[wire.How]Reason{wire.FIN: PeerClosedEarly, wire.RST: PeerReset}[how]; got.end != want {
			t.Errorf("%s counts as %s, want %s", how, got.end, want)
		}
	}
}
