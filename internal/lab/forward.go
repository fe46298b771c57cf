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

// forwarder copies frames between the two hosts of a carried link. It does all verbs of the link but
// rate: a direction asks its gate, then its losses, and then delays the frame or sends it at once.
type forwarder struct {
	client, server     *port // nil until they are open
	toServer, toClient *wire

	running sync.WaitGroup
	ended   chan struct{}
	broken  chan error // gets the first failure
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

// gates puts a gate into each direction. Call it before start.
func (f *forwarder) gates() (toServer, toClient *Gate) {
	f.toServer.gate, f.toClient.gate = &Gate{wire: f.toServer}, &Gate{wire: f.toClient}
	return f.toServer.gate, f.toClient.gate
}

// start begins to carry frames. The ports must be open.
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

// close stops, drops what is still under way, and unmaps the rings.
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
	gate         *Gate // or nil
	delay        *delay
	losses       atomic.Pointer[losses]
	sequences    *segment.Streams // or nil
	seed, stream uint64

	// Each frame that came is sent, lost, held, under way, discarded, or counted by queueFull or
	// refused.
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

// fail reports that the link cannot go on, unless it is about to end.
func (w *wire) fail(doing string, p *port, err error) {
	select {
	case <-w.ended:
		return
	default:
	}
	select {
	case w.broken <- fmt.Errorf("%s %s: %w", doing, p.file.Name(), err):
	default: // there was a failure already
	}
}

// take reads frames until the link ends. Without a delay it sends each frame out of the ring's memory
// before it reads the next.
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
		w.gate.shut() // what is released from now on is dropped
	}
	if w.delay != nil {
		close(w.delay.queue)
	}
}

// carry passes a frame to the gate, the losses or the receiver.
func (w *wire) carry(frame []byte) {
	switch {
	case w.gate != nil:
		w.gate.arrive(frame)
	case !w.loses(frame):
		w.pass(frame)
	}
}

// loses tells whether the rules of loss take a frame. They never take frames that are not IP.
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

// pass sends a frame, at once or after the delay.
func (w *wire) pass(frame []byte) {
	if w.delay == nil {
		_ = w.send(frame) // counted
		return
	}
	w.enqueue(copyOf(frame))
}

// errFull means that mostQueued frames are under way.
var errFull = errors.New("too many packets are under way")

// full tells whether the queue of delayed frames is full, so the next one would be lost.
func (w *wire) full() bool { return w.delay != nil && len(w.delay.queue) == cap(w.delay.queue) }

// enqueue sends a frame after the delay, from now on. One goroutine at a time may call it.
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

// send gives a frame to the receiver's kernel. It counts frames that the kernel refuses: those longer
// than the device's MTU (EMSGSIZE), and all while the host's device is down (ENOBUFS).
func (w *wire) send(frame []byte) error {
	err := w.to.send(frame)
	switch {
	case err == nil:
		w.sent.Add(1)
	case !errors.Is(err, os.ErrClosed):
		w.refused.Add(1)
		if errors.Is(err, unix.ENETDOWN) { // the link's own device is down
			w.fail("write packets to", w.to, err)
		}
	}
	return err
}

// Carried tells what happened to the packets in one direction of a link.
type Carried struct {
	// Came is how many frames the sender put on the link, Sent how many the receiver got. Both are
	// zero if the kernel carries the packets.
	Came, Sent uint64
	// Verbs counts, for each verb of the link, the packets that it was asked about and those that
	// it acted on. A verb without packets is missing.
	Verbs map[string]Tally
	// Lost is how many packets loss, every and drop lost.
	Lost uint64
	// RingOverflows is how many frames came faster than the forwarder read them, QueueOverflows how
	// many were lost because mostQueued were under way or held.
	RingOverflows, QueueOverflows uint64
	// Refused is how many frames were too long for the link, or were sent while a device was down.
	Refused uint64
	// Sequences is nil without Link.Sequences.
	Sequences *segment.Sequences
	// Behind is the longest time that a frame waited until the forwarder read it.
	Behind time.Duration
	// Late is how long after they were due delayed packets were sent, in nanoseconds; nil without a
	// delay.
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
