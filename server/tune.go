package server

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"strconv"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"
)

// tune sets what gnet has no option for on a listening socket.
func tune(eng gnet.Engine, addr netip.AddrPort, cfg *Config) error {
	fd, err := eng.DupListener("tcp", addr.String())
	if err != nil {
		return fmt.Errorf("gnet: %w", err)
	}
	if cfg.MPTCP {
		if fd, err = multipath(fd); err != nil {
			return err
		}
	}
	defer unix.Close(fd)
	if cfg.Linger != nil {
		linger := &unix.Linger{Onoff: 1, Linger: int32(*cfg.Linger)}
		if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, linger); err != nil {
			return os.NewSyscallError("setsockopt SO_LINGER", err)
		}
	}
	if err := cfg.Options.set(fd); err != nil {
		return err
	}
	// The kernel cuts this to the present somaxconn of the socket's namespace; gnet asked for
	// the somaxconn of when the process started.
	return os.NewSyscallError("listen", unix.Listen(fd, cmp.Or(cfg.Backlog, math.MaxInt32)))
}

// fastOpenQueue bounds connections whose data is here before their handshake is over.
const fastOpenQueue = 4096

// set sets the options on a listening socket.
func (o *Options) set(fd int) error {
	var err error
	set := func(when bool, name string, level, option, value int) {
		if !when || err != nil {
			return
		}
		if e := unix.SetsockoptInt(fd, level, option, value); e != nil {
			err = fmt.Errorf("this kernel refuses the socket option %s with the value %d: %w: leave out its flag", name, value, os.NewSyscallError("setsockopt", e))
		}
	}
	seconds := func(d time.Duration) int { return int(d / time.Second) }
	set(o.KeepAlive > 0, "SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	set(o.KeepAlive > 0, "TCP_KEEPIDLE", unix.SOL_TCP, unix.TCP_KEEPIDLE, seconds(o.KeepAlive))
	set(o.KeepInterval > 0, "TCP_KEEPINTVL", unix.SOL_TCP, unix.TCP_KEEPINTVL, seconds(o.KeepInterval))
	set(o.KeepProbes > 0, "TCP_KEEPCNT", unix.SOL_TCP, unix.TCP_KEEPCNT, o.KeepProbes)
	set(o.UserTimeout > 0, "TCP_USER_TIMEOUT", unix.SOL_TCP, unix.TCP_USER_TIMEOUT, int(o.UserTimeout/time.Millisecond))
	set(o.DeferAccept > 0, "TCP_DEFER_ACCEPT", unix.SOL_TCP, unix.TCP_DEFER_ACCEPT, seconds(o.DeferAccept))
	set(o.FastOpen, "TCP_FASTOPEN", unix.SOL_TCP, unix.TCP_FASTOPEN, fastOpenQueue)
	return err
}

const ipprotoMPTCP = 262 // what golang.org/x/sys/unix does not name

// multipath replaces a listening socket of gnet, which only makes TCP sockets, by one of
// Multipath TCP (RFC 8684), and returns a descriptor of the new one. listener is a duplicate of
// gnet's, and is closed. It must be called before the loop has registered its sockets.
func multipath(listener int) (fd int, err error) {
	defer unix.Close(listener)
	place, err := twin(listener)
	if err != nil {
		return -1, err
	}
	address, err := unix.Getsockname(listener)
	if err != nil {
		return -1, os.NewSyscallError("getsockname", err)
	}
	family := unix.AF_INET
	if _, is6 := address.(*unix.SockaddrInet6); is6 {
		family = unix.AF_INET6
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, ipprotoMPTCP)
	if err != nil {
		return -1, fmt.Errorf("%w: this kernel has no MPTCP, or net.mptcp.enabled is 0: leave out --mptcp", os.NewSyscallError("socket(IPPROTO_MPTCP)", err))
	}
	// As gnet has set them. Both listen until gnet's socket is gone, which SO_REUSEPORT allows.
	for _, option := range []struct{ level, name, from int }{
		{unix.SOL_SOCKET, unix.SO_REUSEADDR, unix.AF_INET}, {unix.SOL_SOCKET, unix.SO_REUSEPORT, unix.AF_INET}, {unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, unix.AF_INET6},
	} {
		value, e := unix.GetsockoptInt(listener, option.level, option.name)
		if family == option.from || option.from == unix.AF_INET {
			if e == nil {
				e = unix.SetsockoptInt(fd, option.level, option.name, value)
			}
			err = errors.Join(err, os.NewSyscallError("setsockopt", e))
		}
	}
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, address))
	}
	if err == nil {
		err = os.NewSyscallError("listen", unix.Listen(fd, 1)) // tune gives it the backlog
	}
	if err == nil {
		err = os.NewSyscallError("dup3", unix.Dup3(fd, place, unix.O_CLOEXEC))
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// twin finds the other descriptor of this process that is the same socket.
func twin(fd int) (int, error) {
	var own, other unix.Stat_t
	if err := unix.Fstat(fd, &own); err != nil {
		return -1, os.NewSyscallError("fstat", err)
	}
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return -1, fmt.Errorf("look for gnet's listening socket: %w", err)
	}
	for _, entry := range all {
		n, err := strconv.Atoi(entry.Name())
		if err == nil && n != fd && unix.Fstat(n, &other) == nil && other.Ino == own.Ino && other.Dev == own.Dev {
			return n, nil
		}
	}
	return -1, errors.New("look for gnet's listening socket: it is not there")
}
