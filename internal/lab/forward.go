package lab

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/metrics"
)

// Packets are delayed by carrying them by hand: each host has a TUN device in place of the
// end of a link, and a goroutine for each direction takes packets from one and puts them into
// the other when their time has come. That works where the kernel has no netem.

// wire carries packets in one direction.
type wire struct {
	from, to      *os.File
	delay, jitter time.Duration
	queue         chan packet
	buffers       sync.Pool
	overflows     atomic.Uint64
	ended         <-chan struct{}
	gate          *Gate // nil where nobody looks

	mu   sync.Mutex
	late *metrics.Recorder
}

type packet struct {
	buffer *[largestPacket]byte
	length int
	due    time.Time
}

func (p *packet) bytes() []byte { return p.buffer[:p.length] }

// mostQueued is how many packets are under way at once in a direction; further ones are lost.
const mostQueued = 1 << 16

// largestPacket is more than the MTU of a TUN device.
const largestPacket = 2048

func newWire(from, to *os.File, i *Impairment, ended <-chan struct{}) *wire {
	return &wire{
		from: from, to: to, ended: ended, delay: i.Delay, jitter: i.Jitter, queue: make(chan packet, mostQueued), late: metrics.NewRecorder(),
		buffers: sync.Pool{New: func() any { return new([largestPacket]byte) }},
	}
}

// take reads packets until the device is gone.
func (w *wire) take() {
	var last time.Time
	for {
		buffer := w.buffers.Get().(*[largestPacket]byte)
		n, err := w.from.Read(buffer[:])
		if err != nil {
			break
		}
		p := packet{buffer: buffer, length: n, due: time.Now().Add(w.delay)}
		if w.jitter > 0 {
			p.due = p.due.Add(rand.N(w.jitter))
		}
		if p.due.Before(last) { // packets do not overtake each other
			p.due = last
		}
		last = p.due
		if w.gate == nil {
			w.send(p)
		} else {
			w.gate.arrive(p)
		}
	}
	if w.gate != nil {
		w.gate.shut() // what is released from here on has nowhere to go
	}
	close(w.queue)
}

// send puts a packet on its way.
func (w *wire) send(p packet) {
	select {
	case w.queue <- p:
	default:
		w.overflows.Add(1)
		w.buffers.Put(p.buffer)
	}
}

// roughly is the end of a wait that is slept to the microsecond; what comes before it can be
// ended by the lab's end.
const roughly = 5 * time.Millisecond

// give writes packets when they are due. It sleeps on a thread of its own: the runtime's
// timers are late by up to a millisecond where nothing else is to be done.
func (w *wire) give() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	// The kernel may be 50 µs late otherwise. Where it refuses, it is.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for p := range w.queue {
		if wait := time.Until(p.due); wait > roughly {
			timer.Reset(wait - roughly)
			select {
			case <-timer.C:
			case <-w.ended:
				return
			}
		}
		for wait := time.Until(p.due); wait > 0; wait = time.Until(p.due) {
			request := unix.NsecToTimespec(int64(wait))
			_ = unix.Nanosleep(&request, nil) // a signal that ends it is no reason to be early
		}
		late := time.Since(p.due)
		_, err := w.to.Write(p.bytes())
		w.buffers.Put(p.buffer)
		if errors.Is(err, os.ErrClosed) {
			return // the lab has ended
		}
		w.mu.Lock()
		w.late.Record(int64(late))
		w.mu.Unlock()
	}
}

// lateness is how far behind their time packets were.
func (w *wire) lateness() (metrics.Histogram, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.late.Export()
}

// openTUN makes a TUN device in the host's namespace. It lives as long as the file is open.
func (h *Host) openTUN(name string) (*os.File, error) {
	var file *os.File
	err := h.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("/dev/net/tun, by which packets are delayed: %w", err)
		}
		request, err := unix.NewIfreq(name)
		if err == nil {
			request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
			err = unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
		}
		if err != nil {
			return errors.Join(fmt.Errorf("make a TUN device: %w", os.NewSyscallError("ioctl", err)), unix.Close(fd))
		}
		file = os.NewFile(uintptr(fd), name) // nonblocking: the runtime waits for packets
		return nil
	})
	return file, err
}
