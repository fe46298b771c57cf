package stage

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"tcpbench/internal/agent"
	"tcpbench/internal/kernel"
	"tcpbench/internal/kernel/sockdiag"
	"tcpbench/internal/namespace"
	"tcpbench/metrics"
)

// observer is the role that watches the kernel during a run, in one network namespace. It has a
// thread of its own, whose processor time is the cost that the result states. Its spec is a
// watch; its only event, without content, is that half of the local ports of a space are taken.
// Start says when the measured time begins.
type observer struct {
	enter  func() error   // takes the thread to the namespace; nil is this one
	budget *kernel.Budget // shared by all observers of the run

	voice *agent.Voice
	began time.Time
	zero  atomic.Int64 // when the measured time began, in nanoseconds since began
	stop  chan struct{}
	once  sync.Once // of closing stop
}

// watch is the spec of an observer.
type watch struct {
	Of    Side         `json:"of"`
	Watch kernel.Watch `json:"watch"`
}

// seen is the result of an observer.
type seen struct {
	Namespace  metrics.Namespace            `json:"namespace"`
	Histograms map[string]metrics.Histogram `json:"histograms,omitempty"`
}

// Prepare begins to watch. It returns after the first sample, so nothing of what follows is missed.
func (o *observer) Prepare(ctx context.Context, spec json.RawMessage, voice *agent.Voice) (any, error) {
	var w watch
	if err := json.Unmarshal(spec, &w); err != nil {
		return nil, err
	}
	w.Watch.Budget = o.budget
	o.voice, o.began, o.stop = voice, time.Now(), make(chan struct{})
	sampled := make(chan error, 1)
	namespace.Go(func() { o.run(ctx, w, sampled) })
	return nil, <-sampled
}

func (o *observer) run(ctx context.Context, w watch, sampled chan<- error) {
	if o.enter != nil {
		if err := o.enter(); err != nil {
			sampled <- err
			return
		}
	}
	k, err := kernel.NewSampler(w.Watch)
	if err != nil {
		sampled <- err
		return
	}
	defer k.Close()
	err = k.Sample(0)
	sampled <- err
	ticker := time.NewTicker(kernel.Fastest)
	defer ticker.Stop()
	for told := false; err == nil; {
		select {
		case <-ticker.C:
			err = k.Sample(time.Since(o.began))
		case <-o.stop:
			o.voice.End(o.finish(k, w.Of))
			return
		case <-ctx.Done():
			return
		}
		if err == nil && !told && k.HalfFull() {
			told = true
			o.voice.Event(nil)
		}
	}
	o.voice.End(nil, err)
}

func (o *observer) finish(k *kernel.Sampler, of Side) (s seen, err error) {
	if err = k.Finish(time.Since(o.began)); err != nil {
		return s, err
	}
	if s.Namespace, err = k.Namespace(string(of), time.Duration(o.zero.Load())); err != nil {
		return s, err
	}
	s.Histograms, err = k.Histograms()
	return s, err
}

func (o *observer) Start(at time.Time) error {
	o.zero.Store(int64(at.Sub(o.began)))
	return nil
}

func (o *observer) Sample() (any, error) { return nil, nil }

func (o *observer) Stop() error {
	o.once.Do(func() { close(o.stop) })
	return nil
}

// observation is an observer as the stage sees it.
type observation struct {
	*agent.Remote
	// After Await.
	seen seen
	err  error
}

// observe starts an observer. halfFull is called once, when half of the local ports of a space
// are taken.
func (s *stage) observe(of Side, w kernel.Watch, budget *kernel.Budget, halfFull func()) {
	o := &observation{}
	here := agent.Memory{Roles: agent.Roles{observerRole: func() agent.Role {
		return &observer{enter: s.plan.at(of), budget: budget}
	}}}
	var err error
	o.Remote, err = agent.New(here, observerRole, watch{of, w}, nil, func(m agent.Message, err error) {
		switch {
		case err != nil:
			o.err = err
		case m.Type == agent.Done:
			o.err = m.Into(&o.seen)
		default:
			halfFull()
		}
	})
	if err != nil {
		s.unobserved = err
		return
	}
	s.seen = append(s.seen, o)
}

// startObserving watches the sockets of the run from here on.
func (s *stage) startObserving(host *metrics.Host) {
	if !s.plan.Observe {
		return
	}
	var ports []uint16
	onlyIPv4 := s.plan.Server != nil // a foreign server may take IPv4 on an IPv6 socket
	for _, t := range s.plan.Client.Targets {
		ports = append(ports, t.Port())
		onlyIPv4 = onlyIPv4 && t.Addr().Unmap().Is4()
	}
	if s.plan.Trace {
		s.tracer, s.untraced = s.plan.trace(sockdiag.RangesOf(ports))
	}
	watch := kernel.Watch{Servers: s.plan.Client.Targets, RangeSize: s.plan.rangeSize(host), IPv4: onlyIPv4}
	budget := new(kernel.Budget)
	halfFull := func() {
		_ = s.tell(wordUpper) // drive hears of a client that is gone
	}
	switch {
	case s.plan.Lab != nil:
		s.observe(Client, watch, budget, halfFull)
		s.observe(Server, watch, budget, func() {})
	case s.plan.local():
		s.observe(Both, watch, budget, halfFull)
	default:
		s.observe(Client, watch, budget, halfFull)
	}
}

// observers are the agents that observe.
func (s *stage) observers() (all []*agent.Remote) {
	for _, o := range s.seen {
		all = append(all, o.Remote)
	}
	return all
}

// endObserving takes the last samples.
func (s *stage) endObserving() {
	for _, o := range s.seen {
		if err := errors.Join(o.Stop(), o.Await(samplePatience)); err != nil {
			s.unobserved = err
		}
	}
}

// stopTracing removes the tracer's programs from the kernel.
func (s *stage) stopTracing() {
	if s.tracer != nil {
		_ = s.tracer.Close()
	}
}

// rangeSize returns the number of local ports that a source can have for one destination.
func (p *Plan) rangeSize(host *metrics.Host) int {
	low, high := p.Client.Options.PortRange[0], p.Client.Options.PortRange[1]
	if p.Client.Options.FixedPorts { // bind() knows no range
		if os.Geteuid() != 0 {
			low = max(low, host.UnprivilegedPort())
		}
		return max(0, high-low+1)
	}
	h := *host
	if p.Lab == nil && p.Server != nil { // its sockets will listen in the client's namespace
		var ports []uint16
		for _, a := range p.Server.Addrs {
			ports = append(ports, a.Port())
		}
		h.Listening += "," + sockdiag.PortList(ports)
	}
	return h.LocalPortsWithin(low, high)
}

// fillKernel writes what the observers have seen into the result.
func (s *stage) fillKernel(r *metrics.Result) error {
	for _, o := range s.seen {
		s.unobserved = cmp.Or(o.err, s.unobserved)
	}
	if s.unobserved != nil {
		return nil
	}
	for _, o := range s.seen {
		r.Kernel = append(r.Kernel, o.seen.Namespace)
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

// ofClient returns the histograms of the client's observation, and none of another: ports are the
// client's, and numbers of TIME_WAIT of two hosts do not add up.
func (s *stage) ofClient(o *observation) map[string]metrics.Histogram {
	if o != s.seen[0] {
		return nil
	}
	return o.seen.Histograms
}
