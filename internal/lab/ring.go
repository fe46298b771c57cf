package lab

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ring is memory into which the kernel writes the frames that a packet socket receives (TPACKET_V2,
// Documentation/networking/packet_mmap.rst). A socket buffer is bounded by net.core.rmem_max, often
// 208 KiB, which root of a user namespace cannot exceed.
type ring struct {
	conn   syscall.RawConn
	memory []byte
	at     int // the slot of the next frame

	dropped atomic.Uint64 // frames that found no free slot
}

// Each of the 8192 slots holds a frame of up to 1982 bytes, after the kernel's header.
const (
	slotSize   = 2048
	slotCount  = 1 << 13
	blockSize  = 1 << 16
	offsetLen  = 4  // tpacket2_hdr.tp_len
	offsetSnap = 8  // tpacket2_hdr.tp_snaplen
	offsetMAC  = 12 // tpacket2_hdr.tp_mac
	offsetSec  = 16 // tpacket2_hdr.tp_sec, and tp_nsec after it
)

// errCut means that a frame was longer than a slot.
var errCut = errors.New("frame is longer than a slot of the packet ring")

// newRing maps the ring of a packet socket that is not bound yet. It has no conn yet.
func newRing(fd int) (*ring, error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VERSION, unix.TPACKET_V2); err != nil {
		return nil, os.NewSyscallError("setsockopt(PACKET_VERSION)", err)
	}
	const size = slotSize * slotCount
	err := unix.SetsockoptTpacketReq(fd, unix.SOL_PACKET, unix.PACKET_RX_RING, &unix.TpacketReq{
		Block_size: blockSize, Block_nr: size / blockSize, Frame_size: slotSize, Frame_nr: slotCount,
	})
	if err != nil {
		return nil, fmt.Errorf("%d MiB: %w", size>>20, os.NewSyscallError("setsockopt(PACKET_RX_RING)", err))
	}
	memory, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, os.NewSyscallError("mmap", err)
	}
	return &ring{memory: memory}, nil
}

// next waits for a frame. It is valid until done, which the same goroutine must call before it calls
// next again. With errCut, next returns the part of the frame that is there.
func (r *ring) next() (frame []byte, err error) {
	slot := r.memory[r.at*slotSize:][:slotSize]
	if status := r.status(); atomic.LoadUint32(status)&unix.TP_STATUS_USER == 0 {
		var pending error
		err := r.conn.Read(func(fd uintptr) bool {
			if atomic.LoadUint32(status)&unix.TP_STATUS_USER != 0 {
				return true
			}
			// Before the first wait too: the event of an error may have come when nobody waited.
			pending = pendingError(int(fd))
			return pending != nil
		})
		if err = cmp.Or(err, pending); err != nil {
			return nil, err
		}
	}
	length, kept := binary.NativeEndian.Uint32(slot[offsetLen:]), binary.NativeEndian.Uint32(slot[offsetSnap:])
	frame = slot[binary.NativeEndian.Uint16(slot[offsetMAC:]):][:kept]
	if kept < length {
		return frame, errCut
	}
	return frame, nil
}

// pendingError is the error of a socket: ENETDOWN if its device is gone.
func pendingError(fd int) error {
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && errno != 0 {
		err = unix.Errno(errno)
	}
	return err
}

// age is how long ago the kernel wrote the frame.
func (r *ring) age() time.Duration {
	slot := r.memory[r.at*slotSize:][:slotSize]
	sec, nsec := binary.NativeEndian.Uint32(slot[offsetSec:]), binary.NativeEndian.Uint32(slot[offsetSec+4:])
	return time.Since(time.Unix(int64(sec), int64(nsec)))
}

// done gives the frame's slot back to the kernel.
func (r *ring) done() {
	atomic.StoreUint32(r.status(), unix.TP_STATUS_KERNEL)
	r.at = (r.at + 1) % slotCount
}

// status is the word by which kernel and reader pass the next slot to each other.
func (r *ring) status() *uint32 { return (*uint32)(unsafe.Pointer(&r.memory[r.at*slotSize])) }

// overflows is how many frames the kernel dropped because all slots were taken. After the socket is
// closed, it is the last value read.
func (r *ring) overflows() uint64 {
	_ = r.conn.Control(func(fd uintptr) { // fails only if the socket is closed
		if s, err := unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
			r.dropped.Add(uint64(s.Drops)) // reading sets the kernel's count to zero
		}
	})
	return r.dropped.Load()
}

// unmap frees the memory. The reader must have ended.
func (r *ring) unmap() error { return os.NewSyscallError("munmap", unix.Munmap(r.memory)) }
