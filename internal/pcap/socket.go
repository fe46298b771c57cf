package pcap

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Open opens a packet socket that receives all frames of a device, from the time when prepare
// has returned. The calling thread is in the device's network namespace.
func Open(device string, prepare func(fd int) error) (*os.File, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket(AF_PACKET)", err)
	}
	f := os.NewFile(uintptr(fd), device) // nonblocking: the runtime waits for frames
	if err = prepare(fd); err == nil {
		err = bind(fd, device)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", device, err), f.Close())
	}
	return f, nil
}

func bind(fd int, device string) error {
	d, err := net.InterfaceByName(device)
	if err != nil {
		return err
	}
	protocol := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL)) // htons
	return os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: d.Index}))
}
