// Package pcap captures packets into files that Wireshark and tcpdump read.
package pcap

import (
	"bufio"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Capture writes the packets of a lab into a file that Wireshark and tcpdump read (pcap, with
// nanoseconds). It may be of several labs, one after the other.
type Capture struct {
	// Packets is how many were written, Dropped how many came too fast.
	Packets, Dropped uint64

	mu      sync.Mutex
	w       *bufio.Writer
	started bool
	err     error
}

// NewCapture begins a file.
func NewCapture(w io.Writer) *Capture { return &Capture{w: bufio.NewWriterSize(w, 1<<20)} }

const (
	magicPcap    = 0xa1b23c4d // in the order of this machine's bytes
	linkEthernet = 1
	longestFrame = 1 << 18
)

// header writes what stands at the start of a file.
func (c *Capture) header() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started {
		return nil
	}
	c.started = true
	b := binary.NativeEndian.AppendUint32(nil, magicPcap)
	b = binary.NativeEndian.AppendUint16(b, 2) // version 2.4
	b = binary.NativeEndian.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...) // UTC
	b = binary.NativeEndian.AppendUint32(b, longestFrame)
	b = binary.NativeEndian.AppendUint32(b, linkEthernet)
	_, err := c.w.Write(b)
	return err
}

// frame writes a packet of so many bytes, of which some may be missing.
func (c *Capture) frame(at unix.Timespec, b []byte, length int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := binary.NativeEndian.AppendUint32(nil, uint32(at.Sec))
	h = binary.NativeEndian.AppendUint32(h, uint32(at.Nsec))
	h = binary.NativeEndian.AppendUint32(h, uint32(len(b)))
	h = binary.NativeEndian.AppendUint32(h, uint32(length))
	_, err := c.w.Write(h)
	if err == nil {
		_, err = c.w.Write(b)
	}
	if c.err == nil {
		c.err = err
	}
	c.Packets++
}

// Flush writes out what is buffered, and tells of the first error.
func (c *Capture) Flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := cmp.Or(c.err, c.w.Flush()); err != nil { // a writer that has failed says the same again
		return fmt.Errorf("write packets: %w", err)
	}
	return nil
}

// Record has all packets of a device written from now on; the calling thread is in its
// namespace. The function that it returns ends that, when those that have passed are written.
func (c *Capture) Record(device string) (end func() error, err error) {
	if err := c.header(); err != nil {
		return nil, fmt.Errorf("write packets: %w", err)
	}
	fd, err := openPacket(device)
	if err != nil {
		return nil, fmt.Errorf("capture packets: %w", err)
	}
	done := make(chan struct{})
	over := make(chan struct{})
	go func() {
		defer close(over)
		c.read(fd, done)
	}()
	return func() error {
		close(done)
		<-over
		if s, err := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			c.Dropped += uint64(s.Drops)
		}
		return os.NewSyscallError("close", unix.Close(fd))
	}, nil
}

// openPacket opens a socket that sees all packets of a device.
func openPacket(device string) (fd int, err error) {
	const buffer = 32 << 20
	fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer) // as much as there may be
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1)
	if err == nil {
		err = Bind(fd, device)
	}
	if err != nil {
		return -1, errors.Join(fmt.Errorf("%s: %w", device, err), unix.Close(fd))
	}
	return fd, nil
}

// read writes packets until it is to end and none is left.
func (c *Capture) read(fd int, done <-chan struct{}) {
	const idle = 50 // milliseconds, until it looks whether it is to end
	buffer, control := make([]byte, longestFrame), make([]byte, 128)
	for {
		n, k, _, _, err := unix.Recvmsg(fd, buffer, control, unix.MSG_TRUNC)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			select {
			case <-done:
				return
			default:
			}
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, idle) // a wait that fails is short
		case err != nil:
			return // the device is gone, and with it the packets
		default:
			c.frame(timeOf(control[:k]), buffer[:min(n, len(buffer))], n)
		}
	}
}

// timeOf is when the kernel saw a packet, or now.
func timeOf(control []byte) unix.Timespec {
	messages, err := unix.ParseSocketControlMessage(control)
	if err == nil {
		for _, m := range messages {
			if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 16 {
				return unix.Timespec{Sec: int64(binary.NativeEndian.Uint64(m.Data)), Nsec: int64(binary.NativeEndian.Uint64(m.Data[8:]))}
			}
		}
	}
	return unix.NsecToTimespec(time.Now().UnixNano())
}

// Bind has a packet socket see all frames of a device from now on.
func Bind(fd int, device string) error {
	index, err := indexOf(fd, device)
	if err != nil {
		return fmt.Errorf("%s: %w", device, err)
	}
	protocol := binary.BigEndian.Uint16(binary.NativeEndian.AppendUint16(nil, unix.ETH_P_ALL))
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: index}); err != nil {
		return fmt.Errorf("%s: %w", device, os.NewSyscallError("bind", err))
	}
	return nil
}

func indexOf(fd int, device string) (int, error) {
	request, err := unix.NewIfreq(device)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, request); err != nil {
		return 0, os.NewSyscallError("ioctl(SIOCGIFINDEX)", err)
	}
	return int(request.Uint32()), nil
}
