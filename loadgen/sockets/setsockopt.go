package sockets

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"tcpbench/loadgen"
	"time"

	"golang.org/x/sys/unix"
)

// What golang.org/x/sys/unix does not name.
const (
	ipLocalPortRange = 51 // linux/in.h, since 6.3
	ipprotoMPTCP     = 262
	tcpIsMPTCP       = 43 // linux/tcp.h, since 5.16
)

// setting is one setsockopt of an integer.
type setting struct {
	name          string
	level, option int
	value         int32
}

// settings are the options for sockets of a family, made once.
func settings(o *loadgen.Options, family int) []setting {
	var all []setting
	add := func(when bool, name string, level, option, value int) {
		if when {
			all = append(all, setting{name, level, option, int32(value)})
		}
	}
	seconds := func(d time.Duration) int { return max(1, int(d/time.Second)) }
	add(o.NoDelay, "TCP_NODELAY", unix.SOL_TCP, unix.TCP_NODELAY, 1)
	add(o.QuickAck, "TCP_QUICKACK", unix.SOL_TCP, unix.TCP_QUICKACK, 1)
	add(o.FastOpen, "TCP_FASTOPEN_CONNECT", unix.SOL_TCP, unix.TCP_FASTOPEN_CONNECT, 1)
	add(o.ReuseAddr, "SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	add(o.PortRange != [2]int{}, "IP_LOCAL_PORT_RANGE", unix.SOL_IP, ipLocalPortRange, o.PortRange[1]<<16|o.PortRange[0])
	add(o.SYNCount > 0, "TCP_SYNCNT", unix.SOL_TCP, unix.TCP_SYNCNT, o.SYNCount)
	if family == unix.AF_INET6 {
		add(o.TOS > 0, "IPV6_TCLASS", unix.SOL_IPV6, unix.IPV6_TCLASS, o.TOS)
	} else {
		add(o.TOS > 0, "IP_TOS", unix.SOL_IP, unix.IP_TOS, o.TOS)
	}
	if o.KeepAlive > 0 {
		add(true, "SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
		add(true, "TCP_KEEPIDLE", unix.SOL_TCP, unix.TCP_KEEPIDLE, seconds(o.KeepAlive))
		add(o.KeepInterval > 0, "TCP_KEEPINTVL", unix.SOL_TCP, unix.TCP_KEEPINTVL, seconds(o.KeepInterval))
		add(o.KeepProbes > 0, "TCP_KEEPCNT", unix.SOL_TCP, unix.TCP_KEEPCNT, o.KeepProbes)
	}
	add(o.UserTimeout > 0, "TCP_USER_TIMEOUT", unix.SOL_TCP, unix.TCP_USER_TIMEOUT, int(o.UserTimeout/time.Millisecond))
	add(o.FinTimeout > 0, "TCP_LINGER2", unix.SOL_TCP, unix.TCP_LINGER2, seconds(o.FinTimeout))
	return all
}

// protocol is the third argument of socket().
func protocol(o *loadgen.Options) int {
	if o.MPTCP {
		return ipprotoMPTCP
	}
	return unix.IPPROTO_TCP
}

// try sets every option on a socket of each family that the targets have. An option
// that this kernel lacks, or a value that it refuses, is named.
func tryOptions(o *loadgen.Options, targets []netip.AddrPort) error {
	if p := o.PortRange; p != [2]int{} && (p[0] < 1 || p[1] > 65535 || p[0] > p[1]) {
		return fmt.Errorf("port range %d-%d: want 1 to 65535, the lower first", p[0], p[1])
	}
	if o.FixedPorts && o.PortRange == [2]int{} {
		return errors.New("explicit source ports need a range to take them from")
	}
	if *o == (loadgen.Options{}) {
		return nil
	}
	tried := map[int]bool{}
	for _, t := range targets {
		a := newSockaddr(t)
		if tried[a.family] {
			continue
		}
		tried[a.family] = true
		if err := tryOn(o, a.family); err != nil {
			return err
		}
	}
	return nil
}

func tryOn(o *loadgen.Options, family int) error {
	fd, errno := socket(family, protocol(o))
	if errno != 0 {
		if o.MPTCP {
			return fmt.Errorf("this kernel refuses MPTCP: %w: look at net.mptcp.enabled, or leave --mptcp out", os.NewSyscallError("socket", errno))
		}
		return os.NewSyscallError("socket", errno)
	}
	defer closeSocket(fd)
	for _, s := range settings(o, family) {
		if errno := setInt(fd, s.level, s.option, s.value); errno != 0 {
			return fmt.Errorf("this kernel refuses the socket option %s with the value %d: %w: leave its flag out", s.name, s.value, os.NewSyscallError("setsockopt", errno))
		}
	}
	if o.Congestion != "" {
		if err := unix.SetsockoptString(fd, unix.SOL_TCP, unix.TCP_CONGESTION, o.Congestion); err != nil {
			return fmt.Errorf("this kernel refuses the congestion control %q: %w: net.ipv4.tcp_available_congestion_control lists those it has",
				o.Congestion, os.NewSyscallError("setsockopt", err))
		}
	}
	return nil
}

// apply sets the options on a new socket.
func (l *loop) apply(fd, family int) unix.Errno {
	settings := l.settings4
	if family == unix.AF_INET6 {
		settings = l.settings6
	}
	for i := range settings {
		s := &settings[i]
		if errno := setInt(fd, s.level, s.option, s.value); errno != 0 {
			return errno
		}
	}
	if len(l.congestion) > 0 {
		return setBytes(fd, unix.SOL_TCP, unix.TCP_CONGESTION, l.congestion)
	}
	return 0
}
