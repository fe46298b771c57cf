package server

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/internal/kernel/sysinfo"
	"tcpbench/metrics"
)

// claim holds every address for this server until its loops listen. Because of SO_REUSEPORT another
// server of the same user could otherwise listen on the same port and silently take a share of the
// connections, and port 0 would be another port for each loop.
//
// A socket without SO_REUSEPORT cannot be bound to a port on which another one listens, so it finds
// a server that is there, and it may stay bound while the loops, which have SO_REUSEADDR too, bind
// and listen. It does not find a server that is about to listen. So the servers of one network
// namespace begin to listen on a port one after the other.
type claim struct {
	fds   []int
	addrs []netip.AddrPort // with the ports that were found free
	turns []net.Listener
}

// startPatience bounds the wait for other servers that start on the same ports.
const startPatience = 10 * time.Second

// claimTries bounds how often the kernel chooses a port: another server may take it by its number.
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

// take binds, waits for its turn on every port, and checks again. taken means that another server
// was faster to take a port that the kernel chose.
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

// takeTurn gives one server at a time the right to begin to listen on a port. The right is an
// abstract socket name (unix(7)), which belongs to a network namespace, as ports do, and ends with
// its process.
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

func bind(addr netip.AddrPort) (fd int, actual netip.AddrPort, err error) {
	family, sa, err := sockaddr(addr)
	if err != nil {
		return -1, actual, err
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, actual, os.NewSyscallError("socket", err)
	}
	port, err := bindTo(fd, family, sa)
	if err != nil {
		_ = unix.Close(fd) // err is the news
		return -1, actual, err
	}
	return fd, netip.AddrPortFrom(addr.Addr(), port), nil
}

// freeTries bounds how many ports are tried that others may have.
const freeTries = 100

// bindFree binds like bind. For port 0 it takes a port that connect() does not choose, because a
// listening socket takes its port from every client in the namespace (__inet_hash_connect). If
// there is none, the kernel chooses.
func bindFree(addr netip.AddrPort) (fd int, actual netip.AddrPort, err error) {
	if addr.Port() == 0 {
		h := metrics.Host{Sysctls: sysinfo.Sysctls()}
		ports := h.ServerPorts()
		for range min(freeTries, len(ports)) {
			one := netip.AddrPortFrom(addr.Addr(), ports[rand.IntN(len(ports))])
			if fd, actual, err = bind(one); err == nil {
				return fd, actual, nil
			}
		}
	}
	return bind(addr)
}

func bindTo(fd, family int, sa unix.Sockaddr) (port uint16, err error) {
	// The TIME_WAITs of an earlier server must not count as a conflict.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return 0, os.NewSyscallError("setsockopt", err)
	}
	if family == unix.AF_INET6 {
		if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1); err != nil {
			return 0, os.NewSyscallError("setsockopt", err)
		}
	}
	if err := unix.Bind(fd, sa); err != nil {
		return 0, os.NewSyscallError("bind", err)
	}
	sa, err = unix.Getsockname(fd)
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return uint16(sa.Port), nil
	case *unix.SockaddrInet6:
		return uint16(sa.Port), nil
	}
	return 0, os.NewSyscallError("getsockname", err)
}

func sockaddr(addr netip.AddrPort) (family int, sa unix.Sockaddr, err error) {
	ip := addr.Addr()
	switch {
	case ip.Is4():
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: ip.As4()}, nil
	case ip.Is6():
		zone, err := zoneID(ip.Zone())
		return unix.AF_INET6, &unix.SockaddrInet6{Port: int(addr.Port()), Addr: ip.As16(), ZoneId: zone}, err
	}
	return 0, nil, errors.New("not an IP address")
}

// listenError names the address and what to do.
func listenError(what string, err error) error {
	return fmt.Errorf("listen on %s: %w%s", what, err, remedy(err))
}

func remedy(err error) string {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return ": stop the other server (ss -ltnp shows which) or choose another port; port 0 finds a free one"
	case errors.Is(err, unix.EACCES):
		return ": ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE: choose a higher one"
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return ": no interface of this host or namespace has the address (ip addr shows them)"
	case errors.Is(err, unix.EAFNOSUPPORT):
		return ": this kernel has no such protocol: IPv6 may be off"
	case errors.Is(err, unix.EMFILE):
		return ": raise the limit of open files (ulimit -n), or take fewer loops and addresses"
	case errors.Is(err, unix.ENFILE):
		return ": raise fs.file-max"
	}
	return ""
}

func zoneID(zone string) (uint32, error) {
	if zone == "" {
		return 0, nil
	}
	iface, err := net.InterfaceByName(zone)
	if err != nil {
		return 0, err
	}
	return uint32(iface.Index), nil
}
