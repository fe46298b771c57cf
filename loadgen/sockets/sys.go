package sockets

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The system calls of a connection. None of them can block on a non-blocking socket, so
// all go through RawSyscall: entering a call through Syscall lets the runtime retake
// the processor and costs a quarter more per connection.

func socket(family, protocol int) (int, unix.Errno) {
	fd, _, errno := unix.RawSyscall(unix.SYS_SOCKET, uintptr(family),
		unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, uintptr(protocol))
	return int(fd), errno
}

func bind(fd int, a *sockaddr) unix.Errno {
	_, _, errno := unix.RawSyscall(unix.SYS_BIND, uintptr(fd), uintptr(unsafe.Pointer(&a.storage)), uintptr(a.size))
	return errno
}

func connect(fd int, a *sockaddr) unix.Errno {
	_, _, errno := unix.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&a.storage)), uintptr(a.size))
	return errno
}

// sourceless tells whether this host has no address from which to reach a target: IPv6
// without addresses. connect() says EADDRNOTAVAIL then, as it does when no port is
// free. A datagram socket looks for a source in connect() too, and sends nothing.
func sourceless(target *sockaddr) bool {
	fd, _, errno := unix.RawSyscall(unix.SYS_SOCKET, uintptr(target.family), unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if errno != 0 {
		return false
	}
	defer closeSocket(int(fd))
	return connect(int(fd), target) == unix.EADDRNOTAVAIL
}

// connectedToItself tells whether both ends of a connection are one socket: a SYN to a
// port of the local range, from that port (simultaneous open, RFC 9293, section 3.5).
func connectedToItself(fd int) bool {
	var names [2]unix.RawSockaddrInet6
	for i, call := range [2]uintptr{unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME} {
		size := uint32(unsafe.Sizeof(names[i]))
		if _, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&names[i])), uintptr(unsafe.Pointer(&size))); errno != 0 {
			return false
		}
	}
	return names[0] == names[1]
}

func setOption[T any](fd, level, option int, value *T) unix.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(value)), unsafe.Sizeof(*value), 0)
	return errno
}

func option[T any](fd, level, option int, value *T) unix.Errno {
	size := uint32(unsafe.Sizeof(*value))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(value)), uintptr(unsafe.Pointer(&size)), 0)
	return errno
}

func setInt(fd, level, option int, value int32) unix.Errno {
	return setOption(fd, level, option, &value)
}

// abortOnClose makes close() send RST and skip TIME_WAIT (socket(7), SO_LINGER).
func abortOnClose(fd int) unix.Errno {
	return setOption(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 0})
}

// pendingError takes the error that ended a connection attempt (connect(2), EINPROGRESS).
func pendingError(fd int) unix.Errno {
	var pending int32
	if errno := option(fd, unix.SOL_SOCKET, unix.SO_ERROR, &pending); errno != 0 {
		return errno
	}
	return unix.Errno(pending)
}

// tcpInfo asks the kernel for its view of a connection (tcp_get_info). Tcpi_rtt is smoothed, in
// microseconds: right after the handshake it is the time from SYN to SYN-ACK.
func tcpInfo(fd int, info *unix.TCPInfo) unix.Errno {
	return option(fd, unix.IPPROTO_TCP, unix.TCP_INFO, info)
}

func read(fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	return max(0, int(n)), errno // n is -1 with an error
}

// send writes without SIGPIPE.
func send(fd int, b []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
		unix.MSG_NOSIGNAL, 0, 0)
	return max(0, int(n)), errno
}

func shutdownWrite(fd int) unix.Errno {
	_, _, errno := unix.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_WR, 0)
	return errno
}

func closeSocket(fd int) {
	// The only error of interest, EBADF, would be a mistake in this package.
	_, _, _ = unix.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
}

// threadCPU returns the processor time of the calling thread in nanoseconds.
func threadCPU() int64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_THREAD, &u) != nil {
		return 0
	}
	return u.Utime.Nano() + u.Stime.Nano()
}
