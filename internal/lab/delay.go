package lab

import (
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/internal/random"
	"tcpbench/metrics"
)

// copied is a frame that is delayed or held, outside the ring.
type copied struct {
	buffer *[slotSize]byte
	length int
	due    time.Time
	given  chan<- error // gets the result of sending it, or nil
}

func (c *copied) frame() []byte { return c.buffer[:c.length] }

var buffers = sync.Pool{New: func() any { return new([slotSize]byte) }}

func copyOf(frame []byte) copied {
	c := copied{buffer: buffers.Get().(*[slotSize]byte)}
	c.length = copy(c.buffer[:], frame)
	return c
}

func (c *copied) free() { buffers.Put(c.buffer) }

// tell reports the result of sending the frame to whoever waits for it.
func (c *copied) tell(err error) {
	if c.given != nil {
		c.given <- err
	}
}

// mostQueued is how many packets can be under way or held at once in a direction; more are lost.
const mostQueued = 1 << 16

// delay holds the frames of one direction until they are due.
type delay struct {
	delay, jitter time.Duration
	random        *rand.Rand
	last          time.Time // when the frame before is due
	queue         chan copied

	mu   sync.Mutex
	late *metrics.Recorder
}

// newDelay returns nil if packets are not delayed.
func newDelay(how *Impairment, seed, stream uint64) *delay {
	if how.Delay == 0 {
		return nil
	}
	return &delay{
		delay: how.Delay, jitter: how.Jitter, random: rand.New(random.New(seed+how.Seed, stream)),
		queue: make(chan copied, mostQueued), late: metrics.NewRecorder(),
	}
}

// due is when a frame that comes now is sent. Frames do not overtake each other.
func (d *delay) due() time.Time {
	due := time.Now().Add(d.delay)
	if d.jitter > 0 {
		due = due.Add(time.Duration(d.random.Int64N(int64(d.jitter))))
	}
	if due.Before(d.last) {
		due = d.last
	}
	d.last = due
	return due
}

// roughly is the last part of a wait, which is slept to the microsecond; the lab's end can end the part
// before it.
const roughly = 5 * time.Millisecond

// give sends frames when they are due, until the queue or ended is closed. It needs a thread of its own
// to sleep on: the runtime's timers are up to a millisecond late on an idle machine.
func (d *delay) give(ended <-chan struct{}, send func([]byte) error) {
	// If the kernel refuses, accept 50 µs.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for c := range d.queue {
		if wait := time.Until(c.due); wait > roughly {
			timer.Reset(wait - roughly)
			select {
			case <-timer.C:
			case <-ended:
				return
			}
		}
		for wait := time.Until(c.due); wait > 0; wait = time.Until(c.due) {
			request := unix.NsecToTimespec(int64(wait))
			_ = unix.Nanosleep(&request, nil) // a signal may end it early: the loop sleeps again
		}
		late := time.Since(c.due)
		err := send(c.frame())
		c.free()
		c.tell(err)
		if errors.Is(err, os.ErrClosed) {
			return // the lab has ended
		}
		d.mu.Lock()
		d.late.Record(int64(late))
		d.mu.Unlock()
	}
}

// lateness is how long after they were due frames were sent.
func (d *delay) lateness() (metrics.Histogram, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.late.Export()
}
