package alone

import (
	"context"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Patience bounds the wait for something that must happen.
const Patience = time.Minute

// Listen listens for TCP, not MPTCP, until the test ends. A backlog of 0 is Go's.
func Listen(t testing.TB, network, address string, backlog int) *net.TCPListener {
	t.Helper()
	var config net.ListenConfig
	config.SetMultipathTCP(false)
	l, err := config.Listen(context.Background(), network, address)
	must(t, "listen", err)
	t.Cleanup(func() { l.Close() })
	if backlog > 0 {
		raw, err := l.(*net.TCPListener).SyscallConn()
		must(t, "listen", err)
		must(t, "listen", raw.Control(func(fd uintptr) { err = unix.Listen(int(fd), backlog) }))
		must(t, "listen", err)
	}
	return l.(*net.TCPListener)
}

// At is where a listener is reached.
func At(l net.Listener) netip.AddrPort { return netip.MustParseAddrPort(l.Addr().String()) }

// Dial connects to a listener, from a source address if that is not nil, until the test ends.
func Dial(t testing.TB, l net.Listener, source net.Addr) *net.TCPConn {
	t.Helper()
	d := net.Dialer{LocalAddr: source}
	d.SetMultipathTCP(false)
	c, err := d.Dial("tcp", l.Addr().String())
	must(t, "connect", err)
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// Pair makes a connection and returns both ends.
func Pair(t testing.TB, l net.Listener) (client, server *net.TCPConn) {
	t.Helper()
	client = Dial(t, l, nil)
	accepted, err := l.Accept()
	must(t, "accept", err)
	t.Cleanup(func() { accepted.Close() })
	return client, accepted.(*net.TCPConn)
}

// LeaveTimeWait leaves a client's socket in TIME_WAIT.
func LeaveTimeWait(t testing.TB, l net.Listener) {
	t.Helper()
	client, server := Pair(t, l)
	client.CloseWrite()
	io.ReadAll(server)
	server.Close()
	io.ReadAll(client)
	client.Close()
}
