package lab

import (
	"encoding/binary"
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"tcpbench/internal/pcap"
	"tcpbench/internal/probe"
)

// headerEthernet is the length of a frame's header.
const headerEthernet = 14

// port is an end of the link in the namespace in the middle: a packet socket on the veth device whose
// peer is in a host. It reads what the host sends; the host receives what it writes.
type port struct {
	file *os.File
	ring *ring
}

// openPort opens the port of a device that is up, in the namespace of the calling thread.
func openPort(device string) (*port, error) {
	var r *ring
	f, err := pcap.Open(device, func(fd int) (err error) {
		// Otherwise the port would read what it writes.
		if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1); err != nil {
			return os.NewSyscallError("setsockopt(PACKET_IGNORE_OUTGOING)", err)
		}
		r, err = newRing(fd)
		return probe.Refused(probe.StepRing, err)
	})
	if err == nil {
		r.conn, err = f.SyscallConn()
	}
	if err != nil && r != nil {
		err = errors.Join(err, r.unmap())
	}
	if err != nil {
		return nil, probe.Refused(probe.StepPacket, err)
	}
	return &port{file: f, ring: r}, nil
}

// send writes a frame. When it returns, the host's kernel has taken it, and has processed it unless it
// defers softirqs to a thread (PREEMPT_RT; Linux before 6.5 under load).
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
