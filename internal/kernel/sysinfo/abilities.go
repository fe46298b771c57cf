package sysinfo

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The functions in this file find out what this kernel can do by doing the smallest part of it, such as
// making a socket. Their errors are the kernel's.

// Constants that golang.org/x/sys/unix does not have.
const (
	protocolMPTCP  = 262  // IPPROTO_MPTCP
	optionSYNData  = 0x20 // TCPI_OPT_SYN_DATA: the peer took data from the SYN
	ringParameters = 120  // the size of struct io_uring_params
)

// IPv6 tells whether sockets can be bound to [::1].
func IPv6() error {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket(AF_INET6)", err)
	}
	defer unix.Close(fd)
	return os.NewSyscallError("bind [::1]", unix.Bind(fd, &unix.SockaddrInet6{Addr: [16]byte{15: 1}}))
}

// MPTCP tells whether sockets of Multipath TCP can be made.
func MPTCP() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, protocolMPTCP)
	if err != nil {
		return os.NewSyscallError("socket(IPPROTO_MPTCP)", err)
	}
	return os.NewSyscallError("close", unix.Close(fd))
}

// IOUring tells whether the calling process may set up a ring.
func IOUring() error {
	var parameters [ringParameters]byte
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&parameters)), 0)
	if errno != 0 {
		return os.NewSyscallError("io_uring_setup", errno)
	}
	return os.NewSyscallError("close", unix.Close(int(fd)))
}

// ErrSYNData means that the server did not take the data of a SYN.
var ErrSYNData = errors.New("the server did not take the data of the SYN")

// FastOpen opens a connection over loopback whose SYN carries data, without a cookie. The error is
// ErrSYNData if the server did not take the data.
func FastOpen() error {
	listener, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(listener)
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(client)
	if err := unix.Bind(listener, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return os.NewSyscallError("bind", err)
	}
	for _, o := range []struct {
		fd, option int
		name       string
	}{
		{listener, unix.TCP_FASTOPEN, "TCP_FASTOPEN"},
		{listener, unix.TCP_FASTOPEN_NO_COOKIE, "TCP_FASTOPEN_NO_COOKIE"},
		{client, unix.TCP_FASTOPEN_NO_COOKIE, "TCP_FASTOPEN_NO_COOKIE"},
	} {
		if err := unix.SetsockoptInt(o.fd, unix.IPPROTO_TCP, o.option, 1); err != nil {
			return os.NewSyscallError("setsockopt("+o.name+")", err)
		}
	}
	if err := unix.Listen(listener, 1); err != nil {
		return os.NewSyscallError("listen", err)
	}
	to, err := unix.Getsockname(listener)
	if err != nil {
		return os.NewSyscallError("getsockname", err)
	}
	// It returns when the connection is established, or has failed.
	if err := unix.Sendto(client, []byte("x"), unix.MSG_FASTOPEN|unix.MSG_NOSIGNAL, to); err != nil {
		return os.NewSyscallError("sendto(MSG_FASTOPEN)", err)
	}
	info, err := unix.GetsockoptTCPInfo(client, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return os.NewSyscallError("getsockopt(TCP_INFO)", err)
	}
	if info.Options&optionSYNData == 0 {
		return ErrSYNData
	}
	return nil
}
