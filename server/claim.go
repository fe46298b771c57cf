package server

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// claim holds every address for this server until its loops listen: with
// SO_REUSEPORT another server of the same user could listen beside us and take a
// share of the connections in silence, and port 0 would be another port for each
// loop.
//
// A socket without SO_REUSEPORT cannot be bound where another one listens, so it finds a
// server that is there, and may stay bound while the loops, which have SO_REUSEADDR too,
// bind and listen. It does not find a server that is only about to listen. So servers of
// one network namespace begin to listen on a port one after the other.
type claim struct {
	fds   []int
	addrs []netip.AddrPort // with the ports that were found free
	turns []net.Listener
}

// startPatience bounds the wait for other servers that start on the same ports.
const startPatience = 10 * time.Second

// claimTries bounds how often a port is looked for that the kernel is to choose: another
// server may take it by its number.
const claimTries = 10

func claimAll(addrs []netip.AddrPort) (*claim, error) {
	until := time.Now().Add(startPatience)
	for try := 1; ; try++ {
		c := &claim{}
		taken, err := c.take(addrs, until)
		if err == nil {
			return c, nil
		}
		c.release()
		if !taken || try == claimTries {
			return nil, err
		}
	}
}

// take binds, waits for its turn on every port, and looks again. taken means that the
// port was chosen by the kernel and another server was faster.
func (c *claim) take(addrs []netip.AddrPort, until time.Time) (taken bool, err error) {
	for _, addr := range addrs {
		addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
		fd, actual, err := bindFree(addr)
		if err != nil {
			return false, listenError(addr.String(), err)
		}
		c.fds = append(c.fds, fd)
		if slices.Contains(c.addrs, actual) {
			return false, fmt.Errorf("listen on %s: the address is given twice", actual)
		}
		c.addrs = append(c.addrs, actual)
	}
	var ports []uint16
	for _, addr := range c.addrs {
		ports = append(ports, addr.Port())
	}
	// In ascending order, so that two servers never wait for each other.
	slices.Sort(ports)
	for _, port := range slices.Compact(ports) {
		turn, err := takeTurn(port, until)
		if err != nil {
			return false, fmt.Errorf("listen on port %d: %w", port, err)
		}
		c.turns = append(c.turns, turn)
	}
	for i, addr := range c.addrs {
		fd, _, err := bind(addr)
		if err != nil {
			return addrs[i].Port() == 0 && errors.Is(err, unix.EADDRINUSE), listenError(addr.String(), err)
		}
		_ = unix.Close(fd)
	}
	return false, nil
}

func (c *claim) release() {
	for _, fd := range c.fds {
		_ = unix.Close(fd) // nothing was written: close() has nothing to report
	}
	for _, turn := range c.turns {
		_ = turn.Close()
	}
}

// takeTurn gives one server at a time the right to begin to listen on a port. It is a
// name of the abstract kind (unix(7)), which belongs to a network namespace, as ports do,
// and goes with its process.
func takeTurn(port uint16, until time.Time) (net.Listener, error) {
	name := fmt.Sprintf("@tcpbench/starts/%d", port)
	for {
		turn, err := net.Listen("unix", name)
		if !errors.Is(err, unix.EADDRINUSE) {
			return turn, err
		}
		if time.Now().After(until) {
			return nil, fmt.Errorf("another server has been starting there for %v (ss -xlp shows which by %s): stop it", startPatience, name)
		}
		awaitEnd(name, until)
	}
}

// awaitEnd waits until the socket of a name is closed.
func awaitEnd(name string, until time.Time) {
	conn, err := net.DialTimeout("unix", name, time.Until(until))
	if err != nil {
		return // it is closed already
	}
	defer conn.Close()
	// Nobody accepts and nobody writes: this ends with the other side, or in time.
	if conn.SetReadDeadline(until) == nil {
		_, _ = conn.Read(make([]byte, 1))
	}
}
