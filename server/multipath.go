package server

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

const ipprotoMPTCP = 262 // what golang.org/x/sys/unix does not name

// multipath puts a socket of Multipath TCP (RFC 8684) in the place of a listening socket of gnet's,
// which makes sockets of TCP only, and returns a descriptor of the new one. listener is a duplicate
// of gnet's, and is closed. It must be called before the loop has registered its sockets.
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
		return -1, fmt.Errorf("%w: this kernel has no MPTCP, or net.mptcp.enabled is 0: leave --mptcp out", os.NewSyscallError("socket(IPPROTO_MPTCP)", err))
	}
	// As gnet has set them. Until gnet's socket is gone both listen, which SO_REUSEPORT allows.
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
