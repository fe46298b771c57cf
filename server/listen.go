package server

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"tcpbench/internal/kernel/sysinfo"
	"tcpbench/metrics"
)

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

// bindFree binds as bind does. For port 0 it chooses one from which connect() does not choose,
// because a listening socket takes its port from every client in the namespace
// (__inet_hash_connect). If there is none, the kernel chooses.
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
	// The TIME_WAITs that an earlier server has left must not count as a conflict.
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

// listenError names the address and what to do. The error of a bind() has a dozen
// causes that all users meet sooner or later.
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

// tune sets on a listening socket what gnet has no option for. It returns the
// backlog that the kernel has really given.
func tune(eng gnet.Engine, addr netip.AddrPort, cfg *Config) (backlog int, err error) {
	fd, err := eng.DupListener("tcp", addr.String())
	if err != nil {
		return 0, fmt.Errorf("gnet: %w", err)
	}
	if cfg.MPTCP {
		if fd, err = multipath(fd); err != nil {
			return 0, err
		}
	}
	defer unix.Close(fd)
	if cfg.Linger != nil {
		linger := &unix.Linger{Onoff: 1, Linger: int32(*cfg.Linger)}
		if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, linger); err != nil {
			return 0, os.NewSyscallError("setsockopt SO_LINGER", err)
		}
	}
	if err := cfg.Options.set(fd); err != nil {
		return 0, err
	}
	// The kernel cuts to somaxconn of the socket's namespace as it is now; gnet
	// asked for what somaxconn was when the process started.
	n := cfg.Backlog
	if n == 0 {
		n = math.MaxInt32
	}
	if err := unix.Listen(fd, n); err != nil {
		return 0, os.NewSyscallError("listen", err)
	}
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0, os.NewSyscallError("getsockopt TCP_INFO", err)
	}
	return int(info.Sacked), nil // of a listening socket: sk_max_ack_backlog
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
