// Package pcap captures the packets of network devices into a file that Wireshark and tcpdump
// read (pcapng).
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

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"golang.org/x/sys/unix"
)

// Capture writes packets into a file. It can record several devices, at once or one after the
// other.
type Capture struct {
	// Packets is how many packets were written, Dropped how many came too fast.
	Packets, Dropped uint64

	mu  sync.Mutex
	out *bufio.Writer
	ng  *pcapgo.NgWriter // writes to out; nil until the first Record
	err error            // the first of writing a packet
}

// NewCapture begins a file.
func NewCapture(w io.Writer) *Capture { return &Capture{out: bufio.NewWriterSize(w, 1<<20)} }

// Flush writes out what is buffered. Its error is the first of all writes.
func (c *Capture) Flush() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := cmp.Or(c.err, c.out.Flush()); err != nil {
		return fmt.Errorf("write packets: %w", err)
	}
	return nil
}

// Record writes all packets of a device from now on. The calling thread is in the device's
// network namespace. end writes the packets that have passed, and stops.
func (c *Capture) Record(device string) (end func() error, err error) {
	fd := -1
	f, err := Open(device, func(its int) error {
		fd = its
		const buffer = 32 << 20
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, buffer) // at most net.core.rmem_max
		}
		return os.NewSyscallError("setsockopt(SO_TIMESTAMPNS)", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1))
	})
	if err != nil {
		return nil, fmt.Errorf("capture packets: %w", err)
	}
	conn, err := f.SyscallConn()
	id := 0
	if err == nil {
		id, err = c.add(device, fd)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("capture packets of %s: %w", device, err), f.Close())
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		buffer := make([]byte, longestFrame)
		read := func(uintptr) (done bool) { return !c.read(fd, id, buffer) }
		_ = conn.Read(read) // until end, or the device is gone
		read(0)
	}()
	return func() error {
		err := f.SetReadDeadline(time.Now())
		<-over
		if s, err := unix.GetsockoptTpacketStats(fd, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			c.Dropped += uint64(s.Drops)
		}
		return errors.Join(err, f.Close())
	}, nil
}

// longestFrame is more than a segment that the kernel has not cut yet (GSO_MAX_SIZE).
const longestFrame = 1 << 18

// add makes a device an interface of the file, with the link type of its bound socket.
func (c *Capture) add(device string, fd int) (id int, err error) {
	bound, err := unix.Getsockname(fd)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	i := pcapgo.NgInterface{Name: device, OS: "linux", LinkType: layers.LinkTypeEthernet}
	if bound.(*unix.SockaddrLinklayer).Hatype == unix.ARPHRD_NONE {
		i.LinkType = layers.LinkTypeRaw
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ng != nil {
		return c.ng.AddInterface(i)
	}
	options := pcapgo.DefaultNgWriterOptions
	options.SectionInfo.Application = "tcpbench"
	c.ng, err = pcapgo.NewNgWriterInterface(c.out, i, options)
	return 0, err
}

// read writes the packets that a socket has received. more is false if the device is gone.
func (c *Capture) read(fd, id int, buffer []byte) (more bool) {
	control := make([]byte, 128)
	for {
		n, k, _, _, err := unix.Recvmsg(fd, buffer, control, unix.MSG_TRUNC)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return true
		case err != nil:
			return false
		default:
			b := buffer[:min(n, len(buffer))]
			c.mu.Lock()
			err := c.ng.WritePacket(gopacket.CaptureInfo{Timestamp: timeOf(control[:k]), CaptureLength: len(b), Length: n, InterfaceIndex: id}, b)
			c.err = cmp.Or(c.err, err)
			c.Packets++
			c.mu.Unlock()
		}
	}
}

// timeOf is when the kernel saw a packet, or now.
func timeOf(control []byte) time.Time {
	messages, err := unix.ParseSocketControlMessage(control)
	if err == nil {
		for _, m := range messages {
			if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 16 {
				return time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
			}
		}
	}
	return time.Now()
}
