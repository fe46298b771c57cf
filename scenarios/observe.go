package scenarios

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"tcpbench/internal/child"
	"tcpbench/metrics"
	"tcpbench/metrics/kernel"
	"tcpbench/metrics/kernel/trace"
)

// observation watches the kernel beside a run, in the network namespace of this process.
// It has a thread of its own, whose processor time is the cost that the result states.
type observation struct {
	began time.Time
	zero  atomic.Int64 // when the measured time began, in nanoseconds since began
	stop  chan struct{}
	once  sync.Once // of closing stop
	done  chan struct{}

	// What follows is to be read after done.
	view       metrics.View
	histograms map[string]metrics.Histogram
	err        error
}

// observe begins to watch, and returns when the first sample is taken, so that nothing of
// what comes is missed. halfFull is called once, when half of the local ports of a space
// are taken; it must not wait for the end of the observation.
func observe(of string, watch kernel.Watch, halfFull func()) *observation {
	o := &observation{began: time.Now(), stop: make(chan struct{}), done: make(chan struct{})}
	sampled := make(chan struct{})
	go o.run(of, watch, halfFull, sampled)
	select {
	case <-sampled:
	case <-o.done:
	}
	return o
}

func (o *observation) run(of string, watch kernel.Watch, halfFull func(), sampled chan<- struct{}) {
	defer close(o.done)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	k, err := kernel.NewObserver(watch)
	if err != nil {
		o.err = err
		return
	}
	defer k.Close()
	if o.err = k.Sample(0); o.err != nil {
		return
	}
	close(sampled)
	ticker := time.NewTicker(kernel.Fastest)
	defer ticker.Stop()
	for told := false; ; {
		select {
		case <-ticker.C:
			o.err = k.Sample(time.Since(o.began))
		case <-o.stop:
			o.err = o.finish(k, of)
			return
		}
		if o.err != nil {
			return
		}
		if !told && k.HalfFull() {
			told = true
			halfFull()
		}
	}
}

func (o *observation) finish(k *kernel.Observer, of string) error {
	if err := k.Finish(time.Since(o.began)); err != nil {
		return err
	}
	var err error
	if o.view, err = k.View(of, time.Duration(o.zero.Load())); err != nil {
		return err
	}
	o.histograms, err = k.Histograms()
	return err
}

// begin tells that the measured time begins now.
func (o *observation) begin() {
	if o != nil {
		o.zero.Store(int64(time.Since(o.began)))
	}
}

// end takes the last sample and waits until nothing is watched any more.
func (o *observation) end() {
	if o != nil {
		o.once.Do(func() { close(o.stop) })
		<-o.done
	}
}

// startObserving watches the run's own sockets from here on.
func (s *stage) startObserving(host *metrics.Host) {
	if !s.plan.Observe {
		return
	}
	of := "client"
	if local(s.plan.Client.Targets) {
		of = "both"
	}
	var ports []uint16
	onlyIPv4 := s.plan.Server != nil // a server of others may take IPv4 on an IPv6 socket
	for _, t := range s.plan.Client.Targets {
		ports = append(ports, t.Port())
		onlyIPv4 = onlyIPv4 && t.Addr().Unmap().Is4()
	}
	if s.plan.Trace {
		s.tracer, s.untraced = trace.Start(kernel.RangesOf(ports))
	}
	watch := kernel.Watch{Ports: kernel.RangesOf(ports), RangeSize: s.plan.rangeSize(host), IPv4: onlyIPv4}
	s.seen = observe(of, watch, func() {
		// A client that is gone cannot be told, and listen hears of it.
		_ = s.tell(child.Upper)
	})
}

// stopObserving leaves nothing in the kernel.
func (s *stage) stopObserving() {
	s.seen.end()
	if s.tracer != nil {
		// The kernel takes away what is not closed when this process ends.
		_ = s.tracer.Close()
	}
}

// rangeSize is the number of local ports that a source has for one destination.
func (p *Plan) rangeSize(host *metrics.Host) int {
	if r := p.Client.Options.PortRange; r != [2]int{} {
		return r[1] - r[0] + 1
	}
	return host.LocalPorts()
}

// fillKernel writes what was seen into the result.
func (s *stage) fillKernel(r *metrics.Result) error {
	if s.seen == nil {
		return nil
	}
	if s.seen.err != nil {
		s.unobserved = s.seen.err
		return nil
	}
	view := s.seen.view
	var traced map[string]metrics.Histogram
	if s.tracer != nil {
		told, histograms, err := s.tracer.Read()
		if err != nil {
			s.untraced = err
		} else {
			view.Trace, traced = &told, histograms
		}
	}
	r.Kernel = []metrics.View{view}
	if e := r.Exhaustion; e != nil && view.Spaces != nil {
		at := *e
		at.Ports = view.Spaces.Ports
		at.TimeWait, at.InUse, _ = view.Fullest(float64(e.AtNS) / 1e9)
		r.Exhaustion = &at
	}
	var err error
	r.Histograms, err = metrics.MergeHistograms(r.Histograms, s.seen.histograms, traced)
	return err
}
