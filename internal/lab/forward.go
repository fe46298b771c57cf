package lab

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/internal/namespace"
	"tcpbench/internal/segment"
	"tcpbench/metrics"
)

// forwarder copies frames between the two hosts of a carried link. Every verb of the link but
// rate is its: a direction asks its gate, then its losses, and then delays the frame or
// sends it at once.
type forwarder struct {
	client, server     *port // nil until they are open
	toServer, toClient *wire

	running sync.WaitGroup
	ended   chan struct{}
	broken  chan error // has the first failure that is not the end
}

func newForwarder(link *Link) *forwarder {
	f := &forwarder{
		toServer: newWire(&link.ToServer, link.Seed, 0), toClient: newWire(&link.ToClient, link.Seed, 1),
		ended: make(chan struct{}), broken: make(chan error, 1),
	}
	if link.Sequences {
		for _, w := range []*wire{f.toServer, f.toClient} {
			w.sequences = segment.NewStreams()
		}
	}
	return f
}

// gates puts a gate into each direction. It is called before start.
func (f *forwarder) gates() (toServer, toClient *Gate) {
	f.toServer.gate, f.toClient.gate = &Gate{wire: f.toServer}, &Gate{wire: f.toClient}
	return f.toServer.gate, f.toClient.gate
}

// start begins to carry frames. The ports are open.
func (f *forwarder) start() {
	f.toServer.from, f.toServer.to = f.client, f.server
	f.toClient.from, f.toClient.to = f.server, f.client
	for _, w := range []*wire{f.toServer, f.toClient} {
		w.ended, w.broken = f.ended, f.broken
		f.running.Go(w.take)
		if w.delay != nil {
			f.running.Add(1)
			namespace.Go(func() {
				defer f.running.Done()
				w.delay.give(f.ended, w.sendDelayed)
			})
		}
	}
}

// close ends the carrying, whatever is still under way, and then gives the rings' memory back.
func (f *forwarder) close() error {
	close(f.ended)
	var errs []error
	for _, p := range []*port{f.client, f.server} {
		if p != nil {
			errs = append(errs, p.file.Close())
		}
	}
	f.running.Wait()
	for _, p := range []*port{f.client, f.server} {
		if p != nil {
			errs = append(errs, p.ring.unmap())
		}
	}
	return errors.Join(errs...)
}

// wire carries frames in one direction.
type wire struct {
	from, to     *port
	ended        <-chan struct{} // closed when the link ends
	broken       chan<- error
	gate         *Gate // nil if nobody looks
	delay        *delay
	losses       atomic.Pointer[losses]
	sequences    *segment.Streams // nil if nobody follows them
	seed, stream uint64

	// Each frame that came is sent, lost, held, under way, discarded, or counted as queueFull
	// or refused.
	came, sent, queueFull, refused atomic.Uint64
	lost                           lossTally
	behind                         atomic.Int64
	delayed                        tally
	gated                          gateTally
}

func newWire(how *Impairment, seed, direction uint64) *wire {
	w := &wire{seed: seed, stream: 2 * direction, delay: newDelay(how, seed, 2*direction+1)}
	w.impair(how)
	return w
}

// impair replaces the rules by which packets are lost.
func (w *wire) impair(how *Impairment) {
	if how.Filters() {
		w.losses.Store(newLosses(how, w.seed, w.stream, &w.lost))
	} else {
		w.losses.Store(nil)
	}
}

// fail tells that the link cannot go on, unless it is about to end.
func (w *wire) fail(doing string, p *port, err error) {
	select {
	case <-w.ended:
		return
	default:
	}
	select {
	case w.broken <- fmt.Errorf("%s %s: %w", doing, p.file.Name(), err):
	default: // there is one already
	}
}

// take reads frames until the link ends. Without a delay the receiver's kernel has the
// frame when it reads the next: on this thread, and out of the ring's memory.
func (w *wire) take() {
	for {
		frame, err := w.from.ring.next()
		if err != nil && !errors.Is(err, errCut) {
			w.fail("read packets from", w.from, err)
			break
		}
		w.came.Add(1)
		if age := int64(w.from.ring.age()); age > w.behind.Load() {
			w.behind.Store(age)
		}
		if err != nil {
			w.refused.Add(1)
		} else {
			w.carry(frame)
		}
		w.from.ring.done()
	}
	if w.gate != nil {
		w.gate.shut() // what is released from now on has nowhere to go
	}
	if w.delay != nil {
		close(w.delay.queue)
	}
}

// carry decides what becomes of a frame.
func (w *wire) carry(frame []byte) {
	switch {
	case w.gate != nil:
		w.gate.arrive(frame)
	case !w.loses(frame):
		w.pass(frame)
	}
}

// loses asks the rules of loss about a frame, if there are any. Frames that are not of IP
// are never lost.
func (w *wire) loses(frame []byte) bool {
	l := w.losses.Load()
	if l == nil && w.sequences == nil {
		return false
	}
	packet := packetIn(frame)
	if packet == nil {
		return false
	}
	lost := l != nil && l.loses(packet)
	if w.sequences != nil {
		w.sequences.Note(packet, lost)
	}
	return lost
}

// pass lets a frame go on, when it is due.
func (w *wire) pass(frame []byte) {
	if w.delay == nil {
		_ = w.send(frame) // counted
		return
	}
	w.enqueue(copyOf(frame))
}

// errFull means that mostQueued frames are under way.
var errFull = errors.New("too many packets are under way")

// full tells whether the queue of delayed frames is full, so that the next one is lost.
func (w *wire) full() bool { return w.delay != nil && len(w.delay.queue) == cap(w.delay.queue) }

// enqueue puts a frame on its way, which takes the delay from now on. One goroutine at a time calls
// it.
func (w *wire) enqueue(c copied) {
	w.delayed.asked.Add(1)
	c.due = w.delay.due()
	select {
	case w.delay.queue <- c:
	default:
		w.queueFull.Add(1)
		c.free()
		c.tell(errFull)
	}
}

func (w *wire) sendDelayed(frame []byte) error {
	err := w.send(frame)
	if err == nil {
		w.delayed.done.Add(1)
	}
	return err
}

// send hands a frame to the receiver's kernel. A frame that it refuses is counted: one that
// is longer than the device's MTU (EMSGSIZE), or while the host's device is down (ENOBUFS).
func (w *wire) send(frame []byte) error {
	err := w.to.send(frame)
	switch {
	case err == nil:
		w.sent.Add(1)
	case !errors.Is(err, os.ErrClosed):
		w.refused.Add(1)
		if errors.Is(err, unix.ENETDOWN) { // of the link's own device
			w.fail("write packets to", w.to, err)
		}
	}
	return err
}

// Carried is what became of the packets of one direction of a link.
type Carried struct {
	// Came is how many frames the sender has put on the link, and Sent how many the receiver
	// was given. Both are zero if the kernel carries the packets.
	Came, Sent uint64
	// Verbs are what each verb of the link was asked and has done, by its name. A verb that
	// was not asked about any packet is not there.
	Verbs map[string]Tally
	// Lost is how many packets loss, every and drop have lost.
	Lost uint64
	// RingOverflows is how many frames came faster than they were read, QueueOverflows how
	// many were lost because mostQueued were under way or held.
	RingOverflows, QueueOverflows uint64
	// Refused is how many frames were too long for the link, or met a device that was down.
	Refused uint64
	// Sequences is what became of data; nil if Link.Sequences did not ask for it.
	Sequences *segment.Sequences
	// Behind is how long a frame waited at most until the link read it.
	Behind time.Duration
	// Late is by how much delayed packets were sent after they were due, in nanoseconds; nil
	// if none is delayed.
	Late *metrics.Histogram
}

func (w *wire) carried() (c Carried, err error) {
	c = Carried{
		Came: w.came.Load(), Sent: w.sent.Load(), Verbs: map[string]Tally{},
		RingOverflows: w.from.ring.overflows(), QueueOverflows: w.queueFull.Load(), Refused: w.refused.Load(),
		Behind: time.Duration(w.behind.Load()),
	}
	for name, t := range map[string]*tally{
		"drop": &w.lost.drop, "every": &w.lost.every, "loss": &w.lost.loss, "delay": &w.delayed,
		"hold": &w.gated.hold, "lose": &w.gated.lose, "step": &w.gated.step, "release": &w.gated.release,
	} {
		if n := t.read(); n.Asked > 0 {
			c.Verbs[name] = n
		}
	}
	c.Lost = c.Verbs["drop"].Done + c.Verbs["every"].Done + c.Verbs["loss"].Done
	if w.sequences != nil {
		s := w.sequences.Read()
		c.Sequences = &s
	}
	if w.delay != nil {
		late, err := w.delay.lateness()
		if err != nil {
			return c, err
		}
		c.Late = &late
	}
	return c, nil
}
