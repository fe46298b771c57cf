package server

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Options are socket options of the listening sockets. Accepted ones inherit those that
// concern a connection. The zero value sets none. The ranges are those of the flags.
type Options struct {
	// KeepAlive turns SO_KEEPALIVE on: the first probe after so long without a
	// segment, the next ones KeepInterval apart, KeepProbes in all. Whole seconds.
	KeepAlive, KeepInterval time.Duration
	KeepProbes              int
	// UserTimeout is TCP_USER_TIMEOUT: how long sent data may stay unacknowledged.
	UserTimeout time.Duration
	// DeferAccept is TCP_DEFER_ACCEPT: a connection enters the accept queue with its
	// first data, or after about so long without. Whole seconds.
	DeferAccept time.Duration
	// FastOpen takes data in the SYN of clients that hold a cookie (RFC 7413).
	FastOpen bool
	// MPTCP listens with sockets of Multipath TCP, which take plain TCP, too.
	MPTCP bool
}

// The largest values that the kernel takes: MAX_TCP_KEEPIDLE and MAX_TCP_KEEPINTVL of
// include/net/tcp.h, and an int of milliseconds.
const (
	MaxKeepAlive   = 32767 * time.Second
	MaxUserTimeout = math.MaxInt32 * time.Millisecond
)

// fastOpenServer is the bit of net.ipv4.tcp_fastopen without which a listening socket
// ignores data in a SYN, however it is configured.
const fastOpenServer = 2

// Check finds options that mean nothing without another, or that this host has switched off.
// Its errors begin with the name of the option.
func (o *Options) Check() error {
	switch {
	case o.KeepAlive == 0 && (o.KeepInterval > 0 || o.KeepProbes > 0):
		return errors.New("keepalive-interval and keepalive-probes are of the probes: give keepalive, too, as in 5s")
	case !o.FastOpen:
		return nil
	}
	const name = "net.ipv4.tcp_fastopen"
	text, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
	if err != nil {
		return fmt.Errorf("fastopen: this kernel has no %s: %w", name, err)
	}
	value := strings.TrimSpace(string(text))
	if bits, err := strconv.ParseInt(value, 0, 64); err != nil || bits&fastOpenServer == 0 {
		return fmt.Errorf("fastopen: %s is %s, and servers need its bit %d: sysctl -w %s=3", name, value, fastOpenServer, name)
	}
	return nil
}

// set sets the options on a listening socket.
func (o *Options) set(fd int) error {
	var err error
	set := func(when bool, name string, level, option, value int) {
		if !when || err != nil {
			return
		}
		if e := unix.SetsockoptInt(fd, level, option, value); e != nil {
			err = fmt.Errorf("this kernel refuses the socket option %s with the value %d: %w: leave its flag out", name, value, os.NewSyscallError("setsockopt", e))
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

// fastOpenQueue bounds connections whose handshake is not over and whose data is here.
const fastOpenQueue = 4096
