package lab

import (
	"encoding/binary"
	"errors"
	"os"
	"tcpbench/internal/pcap"

	"golang.org/x/sys/unix"
)

// headerEthernet is the length of a frame's header.
const headerEthernet = 14

// port is an end of the link in the namespace in the middle: a packet socket on the veth
// device whose peer a host has. What it reads the host has sent, and what it writes the host
// receives.
type port struct {
	file *os.File
	ring *ring
}

// openPort opens the port of a device that is up. The calling thread is in its namespace.
func openPort(device string) (*port, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, refused(StepPacket, os.NewSyscallError("socket(AF_PACKET)", err))
	}
	file := os.NewFile(uintptr(fd), device) // nonblocking: the runtime waits for frames
	// Without this the port would read what it has written.
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
		return nil, errors.Join(refused(StepPacket, os.NewSyscallError("setsockopt(PACKET_IGNORE_OUTGOING)", err)), file.Close())
	}
	r, err := newRing(file)
	if err != nil {
		return nil, errors.Join(refused(StepRing, err), file.Close())
	}
	p := &port{file: file, ring: r}
	if err := pcap.Bind(fd, device); err != nil { // frames come from here on
		return nil, errors.Join(refused(StepPacket, err), p.file.Close(), r.unmap())
	}
	return p, nil
}

// send writes a frame. When it returns the host's kernel has taken it, and has processed it
// unless it defers softirqs to a thread (PREEMPT_RT; Linux before 6.5 under load).
func (p *port) send(frame []byte) error {
	_, err := p.file.Write(frame)
	if errors.Is(err, unix.ENETDOWN) {
		_, err = p.file.Write(frame) // the kernel reports once that the device was down
	}
	return err
}

// packetIn is the IP packet in a frame; nil if the frame carries another protocol.
func packetIn(frame []byte) []byte {
	if len(frame) <= headerEthernet {
		return nil
	}
	switch binary.BigEndian.Uint16(frame[headerEthernet-2:]) {
	case unix.ETH_P_IP, unix.ETH_P_IPV6:
		return frame[headerEthernet:]
	}
	return nil
}
