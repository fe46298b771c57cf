package stage

import (
	"os"
	"sync"
	"sync/atomic"
	"time"

	"tcpbench/internal/agent"
	"tcpbench/internal/kernel"
	"tcpbench/internal/kernel/sockdiag"
	"tcpbench/internal/lab"
	"tcpbench/metrics"
)

// observation watches the kernel beside a run, in one network namespace. It has a thread of
// its own, whose processor time is the cost that the result states.
type observation struct {
	began time.Time
	zero  atomic.Int64 // when the measured time began, in nanoseconds since began
	stop  chan struct{}
	once  sync.Once // of closing stop
	done  chan struct{}

	// What follows is to be read after done.
	view       metrics.Namespace
	histograms map[string]metrics.Histogram
	err        error
}

// observe begins to watch, and returns when the first sample is taken, so that nothing of
// what comes is missed. halfFull is called once, when half of the local ports of a space
// are taken; it must not wait for the end of the observation.
func observe(of Side, enter func() error, watch kernel.Watch, halfFull func()) *observation {
	o := &observation{began: time.Now(), stop: make(chan struct{}), done: make(chan struct{})}
	sampled := make(chan struct{})
	lab.Go(func() { o.run(of, enter, watch, halfFull, sampled) })
	select {
	case <-sampled:
	case <-o.done:
	}
	return o
}

func (o *observation) run(of Side, enter func() error, watch kernel.Watch, halfFull func(), sampled chan<- struct{}) {
	defer close(o.done)
	if enter != nil {
		if o.err = enter(); o.err != nil {
			return
		}
	}
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

func (o *observation) finish(k *kernel.Observer, of Side) error {
	if err := k.Finish(time.Since(o.began)); err != nil {
		return err
	}
	var err error
	if o.view, err = k.View(string(of), time.Duration(o.zero.Load())); err != nil {
		return err
	}
	o.histograms, err = k.Histograms()
	return err
}

// begin tells that the measured time begins now.
func (o *observation) begin() { o.zero.Store(int64(time.Since(o.began))) }

// end takes the last sample and waits until nothing is watched any more.
func (o *observation) end() {
	o.once.Do(func() { close(o.stop) })
	<-o.done
}

// startObserving watches the run's own sockets from here on.
func (s *stage) startObserving(host *metrics.Host) {
	if !s.plan.Observe {
		return
	}
	var ports []uint16
	onlyIPv4 := s.plan.Server != nil // a server of others may take IPv4 on an IPv6 socket
	for _, t := range s.plan.Client.Targets {
		ports = append(ports, t.Port())
		onlyIPv4 = onlyIPv4 && t.Addr().Unmap().Is4()
	}
	if s.plan.Trace {
		s.tracer, s.untraced = s.plan.trace(sockdiag.RangesOf(ports))
	}
	watch := kernel.Watch{Servers: s.plan.Client.Targets, RangeSize: s.plan.rangeSize(host), IPv4: onlyIPv4, Budget: new(kernel.Budget)}
	halfFull := func() {
		// A client that is gone cannot be told, and listen hears of it.
		_ = s.tell(agent.Upper)
	}
	switch {
	case s.plan.Lab != nil:
		s.seen = append(s.seen, observe(Client, s.plan.at(Client), watch, halfFull), observe(Server, s.plan.at(Server), watch, func() {}))
	case s.plan.local():
		s.seen = append(s.seen, observe(Both, nil, watch, halfFull))
	default:
		s.seen = append(s.seen, observe(Client, nil, watch, halfFull))
	}
}

// endObserving takes the last samples.
func (s *stage) endObserving() {
	for _, o := range s.seen {
		o.end()
	}
}

// stopObserving leaves nothing in the kernel.
func (s *stage) stopObserving() {
	s.endObserving()
	if s.tracer != nil {
		// The kernel takes away what is not closed when this process ends.
		_ = s.tracer.Close()
	}
}

// rangeSize is the number of local ports that a source can have for one destination.
func (p *Plan) rangeSize(host *metrics.Host) int {
	low, high := p.Client.Options.PortRange[0], p.Client.Options.PortRange[1]
	if p.Client.Options.FixedPorts { // bind() looks at no range
		if os.Geteuid() != 0 {
			low = max(low, host.UnprivilegedPort())
		}
		return max(0, high-low+1)
	}
	h := *host
	if p.Lab == nil && p.Server != nil { // its sockets will listen beside the client's
		var ports []uint16
		for _, a := range p.Server.Addrs {
			ports = append(ports, a.Port())
		}
		h.Listening += "," + sockdiag.PortList(ports)
	}
	return h.LocalPortsWithin(low, high)
}

// fillKernel writes what was seen into the result.
func (s *stage) fillKernel(r *metrics.Result) error {
	for _, o := range s.seen {
		if o.err != nil {
			s.unobserved = o.err
			return nil
		}
		r.Kernel = append(r.Kernel, o.view)
		var err error
		if r.Histograms, err = metrics.MergeHistograms(r.Histograms, s.ofClient(o)); err != nil {
			return err
		}
	}
	if len(r.Kernel) == 0 {
		return nil
	}
	view := &r.Kernel[0] // the client's, or both sides'
	if e := r.Exhaustion; e != nil && view.Spaces != nil {
		at := *e
		at.Ports = view.Spaces.Ports
		at.TimeWait, at.InUse, _ = view.Fullest(float64(e.AtNS) / 1e9)
		r.Exhaustion = &at
	}
	if s.tracer == nil {
		return nil
	}
	told, traced, err := s.tracer.Read()
	if err != nil {
		s.untraced = err
		return nil
	}
	view.Trace = &told
	r.Histograms, err = metrics.MergeHistograms(r.Histograms, traced)
	return err
}

// ofClient are the histograms of an observation, as far as they are the client's: ports are
// its own, and two numbers of TIME_WAIT do not make one.
func (s *stage) ofClient(o *observation) map[string]metrics.Histogram {
	if o != s.seen[0] {
		return nil
	}
	return o.histograms
}
