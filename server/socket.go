package server

import (
	"io"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"tcpbench/internal/wire"
)

// zeros is the content of responses without a pattern. Nobody writes to it, so it is the kernel's
// zero page many times over, and takes neither memory nor cache.
var zeros [256 << 10]byte

// perTurn bounds what one connection may send while the others of its loop wait.
const perTurn = 4 << 20

// send writes what the socket takes at once; a full send buffer is no error.
//
// gnet's own Write would keep a copy of the rest, and does not report when that is gone.
// MSG_NOSIGNAL, because a peer that is gone is data and not a signal. RawSyscall, because a call
// that does not block needs no bookkeeping by the scheduler.
func send(fd int, b []byte) (int, error) {
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
			unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			return int(n), nil
		case unix.EAGAIN:
			return 0, nil
		case unix.EINTR:
		default:
			return 0, os.NewSyscallError("sendto", errno)
		}
	}
}

// content returns the next n bytes of the connection's responses, or fewer.
func (c *conn) content(n uint64) []byte {
	if c.script.Pattern {
		return wire.Pattern(c.place, n)
	}
	return zeros[:min(n, uint64(len(zeros)))]
}

// respond sends up to n bytes of responses and returns how many the socket took.
func (c *conn) respond(fd int, n uint64) (sent uint64, err error) {
	for limit := min(n, perTurn); sent < limit; {
		chunk := c.content(limit - sent)
		k, err := send(fd, chunk)
		sent += uint64(k)
		c.place += uint64(k)
		if err != nil || k < len(chunk) {
			return sent, err
		}
	}
	return sent, nil
}

// resetOnClose makes close() send a RST (RFC 9293, section 3.10.5: ABORT).
func resetOnClose(fd int) {
	// It fails only on what is no socket.
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

// unsent returns the number of bytes that the kernel has taken and not yet sent. A RST takes their
// place; bytes already sent arrive before it.
func unsent(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.SIOCOUTQNSD)
	if err != nil {
		return 0
	}
	return n
}

// hungUp reports whether a connection is over in both directions: the peer has reset it, or the
// kernel has given it up. A peer that has only sent its FIN still reads.
func hungUp(fd int) bool {
	fds := []unix.PollFd{{Fd: int32(fd)}} // POLLHUP and POLLERR need not be asked for
	n, err := unix.Poll(fds, 0)
	return err == nil && n > 0 && fds[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
}

// tick is the time in nanoseconds between two values of the kernel's jiffies (CONFIG_HZ), which is
// the resolution of the coarse clocks (KTIME_LOW_RES). TCP_INFO counts in milliseconds, so a
// shorter tick does not show.
var tick = func() int64 {
	var resolution unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &resolution); err != nil {
		return int64(10 * time.Millisecond) // the longest that Linux has (HZ 100)
	}
	return max(resolution.Nano(), int64(time.Millisecond))
}()

// sinceArrival returns how long ago, in nanoseconds, the kernel took the last data of a connection,
// or the end of its handshake if no data has come. For a connection that was just accepted this is
// how long it has waited, or a little less if data came after the handshake. The kernel counts in
// ticks (tcp_get_info, tcpi_last_data_recv): zero means that less than one has passed.
func sinceArrival(fd int) (int64, bool) {
	var info unix.TCPInfo
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_TCP, unix.TCP_INFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if info.Last_data_recv == 0 {
		return 0, errno == 0
	}
	return max(tick, int64(info.Last_data_recv)*int64(time.Millisecond)), errno == 0
}

// pending returns the error that a socket in EPOLLHUP or EPOLLERR holds. While the kernel handles a
// RST (tcp_reset), epoll may already see these and not yet EPOLLIN; gnet then closes without a
// read() and reports the end of the stream.
func pending(fd int) error {
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	switch {
	case err != nil:
		return os.NewSyscallError("getsockopt", err)
	case errno != 0:
		return unix.Errno(errno)
	}
	return io.EOF
}
