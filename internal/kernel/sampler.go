package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/internal/kernel/sockdiag"
	"tcpbench/metrics"
)

// Sampler watches the network namespace of the thread that made it during a run: counters, sockstat and
// accept queues with every sample, and a census of the run's own sockets as often as its budget allows.
// One goroutine uses it, locked to its thread, whose processor time is the sampler's cost.
type Sampler struct {
	net       *Net
	census    *sockdiag.Census
	servers   *sockdiag.Servers
	rangeSize int

	pace     pacer // times are by the caller's clock
	first    Counters
	previous Counters
	now      Counters
	softnet  metrics.Softnet

	samples  []sample
	every    int // one of so many samples is kept
	skipped  int
	queues   map[string]*metrics.Queue
	dropped  map[string]int64 // drops of each queue before the first sample
	spaces   metrics.Spaces
	uses     map[sockdiag.Space]sockdiag.Use
	seen     map[sockdiag.Space]struct{}
	counted  map[string]*metrics.Recorder // numbers of sockets and ports
	halfFull bool

	taken     int
	censuses  int
	censusCPU time.Duration
	last      time.Duration
}

// sample is a row of the timeline.
type sample struct {
	at         time.Duration
	sockets    Sockets
	population sockdiag.Population
	fullest    sockdiag.Use
	counted    bool
	moved      Moved
}

const (
	// Fastest is the time between samples.
	Fastest = 100 * time.Millisecond
	// mostSamples bounds the timeline: at that length every second row is removed.
	mostSamples = 3000
)

// Watch tells which sockets are the run's own.
type Watch struct {
	// Servers are the run's: sockets with one of them at either end are its own.
	Servers []netip.AddrPort
	// RangeSize is how many local ports a four-tuple space has.
	RangeSize int
	// IPv4 means that none of the sockets is of IPv6.
	IPv4 bool
	// Budget is shared by all samplers of the run; nil gives this one its own.
	Budget *Budget
}

// NewSampler returns a sampler of the sockets.
func NewSampler(w Watch) (*Sampler, error) {
	n, err := OpenNet()
	if err != nil {
		return nil, fmt.Errorf("observe the kernel: %w", err)
	}
	c, err := sockdiag.OpenCensus()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("observe the kernel: %w", err), n.Close())
	}
	c.IPv4 = w.IPv4
	counted := map[string]*metrics.Recorder{}
	for _, name := range []string{metrics.TimeWaitSockets, metrics.FinWait2Sockets, metrics.NamespaceTimeWait, metrics.PortsInUse} {
		counted[name] = metrics.NewCountRecorder(metrics.UnitOf(name))
	}
	return &Sampler{
		net: n, census: c, servers: sockdiag.ServersAt(w.Servers), rangeSize: w.RangeSize, every: 1, pace: pacer{Budget: cmp.Or(w.Budget, &Budget{})},
		queues: map[string]*metrics.Queue{}, dropped: map[string]int64{}, uses: map[sockdiag.Space]sockdiag.Use{}, seen: map[sockdiag.Space]struct{}{},
		spaces: metrics.Spaces{Ports: w.RangeSize}, counted: counted,
	}, nil
}

// Close closes the files of the sampler.
func (o *Sampler) Close() error { return errors.Join(o.net.Close(), o.census.Close()) }

// Sample looks at the kernel at a time of the caller's clock.
func (o *Sampler) Sample(at time.Duration) error { return o.look(at, false) }

// Finish looks for the last time, always with a census.
func (o *Sampler) Finish(at time.Duration) error { return o.look(at, true) }

func (o *Sampler) look(at time.Duration, last bool) error {
	began := threadTime()
	defer func() { o.pace.took(threadTime() - began) }()
	if err := o.net.Counters(&o.now); err != nil {
		return fmt.Errorf("observe the kernel: %w", err)
	}
	sockets, err := o.net.Sockstat()
	if err != nil {
		return fmt.Errorf("observe the kernel: %w", err)
	}
	if o.taken == 0 {
		o.pace.began = at
		if o.softnet, err = ReadSoftnet(); err != nil {
			return fmt.Errorf("observe the kernel: %w", err)
		}
		o.first = o.now.clone()
		o.previous = o.now.clone()
	}
	o.taken++
	o.last = at
	o.counted[metrics.NamespaceTimeWait].Record(sockets.TimeWait)
	// This takes a hundredth of a census: the table of listening sockets is small.
	listeners, err := o.census.Listeners(o.servers.Ranges())
	if err != nil {
		return err
	}
	o.noteQueues(listeners)
	s := sample{at: at, sockets: sockets}
	if all := sockets.InUse + sockets.InUse6 + sockets.TimeWait; last || o.pace.due(at, all) {
		if err := o.count(&s, all); err != nil {
			return err
		}
	}
	o.keep(s)
	return nil
}

// count makes a census while the namespace has so many sockets.
func (o *Sampler) count(s *sample, sockets int64) error {
	began := threadTime()
	population, left, err := o.census.Count(o.servers, o.uses)
	if err != nil {
		return err
	}
	s.population, s.counted = population, true
	o.spaces.Left = max(o.spaces.Left, left)
	for name, state := range map[string]sockdiag.State{metrics.TimeWaitSockets: sockdiag.TimeWait, metrics.FinWait2Sockets: sockdiag.FinWait2} {
		o.counted[name].Record(int64(population[sockdiag.Client][state] + population[sockdiag.Server][state]))
	}
	for space, use := range o.uses {
		o.seen[space] = struct{}{}
		o.counted[metrics.PortsInUse].Record(int64(use.Total()))
		if use.Total() > s.fullest.Total() {
			s.fullest = use
		}
		if use.Total() > o.spaces.Peak {
			o.spaces.Peak = use.Total()
			o.spaces.Fullest = space.Source.String() + " to " + space.Target.String()
		}
	}
	o.halfFull = o.halfFull || o.rangeSize > 0 && 2*s.fullest.Total() >= o.rangeSize
	cost := threadTime() - began
	o.censuses++
	o.censusCPU += cost
	o.pace.made(cost, sockets)
	return nil
}

// noteQueues notes the accept queues of the run's servers.
func (o *Sampler) noteQueues(listeners []sockdiag.Listener) {
	drops := map[string]int64{}
	for _, l := range listeners {
		if !o.servers.Listens(l.Addr) {
			continue
		}
		name := l.Addr.String()
		q := o.queues[name]
		if q == nil {
			q = &metrics.Queue{Addr: name}
			o.queues[name] = q
		}
		q.Peak, q.Limit = max(q.Peak, l.Queue), l.Limit
		drops[name] += int64(l.Drops)
	}
	for name, n := range drops { // drops before the first sample are not the run's
		if o.taken == 1 {
			o.dropped[name] = n
		}
		q := o.queues[name]
		q.Drops = max(q.Drops, n-o.dropped[name]) // a socket takes its count along when it is closed
	}
}

// keep adds a row to the timeline. A longer run has fewer rows per second.
func (o *Sampler) keep(s sample) {
	if o.skipped++; o.skipped < o.every {
		return
	}
	o.skipped = 0
	s.moved = o.now.Sub(o.previous)
	o.previous.copy(o.now)
	o.samples = append(o.samples, s)
	if len(o.samples) < mostSamples {
		return
	}
	kept := o.samples[:0]
	for i := 1; i < len(o.samples); i += 2 {
		later := o.samples[i]
		for group, names := range o.samples[i-1].moved {
			for name, n := range names {
				if later.moved[group] == nil {
					later.moved[group] = map[string]int64{}
				}
				later.moved[group][name] += n
			}
		}
		if !later.counted {
			earlier := o.samples[i-1]
			later.population, later.fullest, later.counted = earlier.population, earlier.fullest, earlier.counted
		}
		kept = append(kept, later)
	}
	clear(o.samples[len(kept):])
	o.samples = kept
	o.every *= 2
}

// HalfFull tells whether half of the ports of a space were ever in use.
func (o *Sampler) HalfFull() bool { return o.halfFull }

// Namespace is everything that the sampler saw. Times count from zero, a time of the caller's clock.
func (o *Sampler) Namespace(of string, zero time.Duration) (metrics.Namespace, error) {
	softnet, err := ReadSoftnet()
	if err != nil {
		return metrics.Namespace{}, fmt.Errorf("observe the kernel: %w", err)
	}
	v := metrics.Namespace{
		Of: of, Counters: o.now.Sub(o.first), Softnet: since(softnet, o.softnet),
		Timeline: o.timeline(zero),
		Cost:     metrics.ObserverCost{Samples: o.taken, Censuses: o.censuses},
	}
	if o.censuses > 0 {
		v.Cost.CensusNS = int64(o.censusCPU) / int64(o.censuses)
	}
	if took := o.last - o.pace.began; took > 0 {
		v.Cost.CPUShare = float64(o.pace.own) / float64(took)
	}
	for _, name := range slices.Sorted(maps.Keys(o.queues)) {
		v.Listeners = append(v.Listeners, *o.queues[name])
	}
	if len(o.seen) > 0 {
		spaces := o.spaces
		spaces.Count = len(o.seen)
		v.Spaces = &spaces
	}
	return v, nil
}

func (o *Sampler) timeline(zero time.Duration) metrics.Timeline {
	t := metrics.Timeline{T: []float64{}, Every: o.every, Sockets: map[string][]int64{}, Counters: map[string][]int64{}}
	n := len(o.samples)
	put := func(columns map[string][]int64, name string, row int, value int64) {
		if columns[name] == nil {
			columns[name] = make([]int64, n)
		}
		columns[name][row] = value
	}
	var population sockdiag.Population
	var fullest sockdiag.Use
	for row, s := range o.samples {
		t.T = append(t.T, (s.at - zero).Seconds())
		put(t.Sockets, "tw", row, s.sockets.TimeWait)
		put(t.Sockets, "inuse", row, s.sockets.InUse+s.sockets.InUse6)
		put(t.Sockets, "orphan", row, s.sockets.Orphan)
		put(t.Sockets, "mem_pages", row, s.sockets.Mem)
		if s.counted { // until the next census, this one counts
			population, fullest = s.population, s.fullest
		}
		for side, name := range []string{sockdiag.Client: "client.", sockdiag.Server: "server."} {
			for state, k := range population[side] {
				column := name + sockdiag.State(state).String()
				if k > 0 || t.Sockets[column] != nil {
					put(t.Sockets, column, row, int64(k))
				}
			}
		}
		put(t.Sockets, "fullest.TIME_WAIT", row, int64(fullest.TimeWait))
		put(t.Sockets, "fullest.other", row, int64(fullest.Other))
		for group, names := range s.moved {
			for name, k := range names {
				put(t.Counters, group+"."+name, row, k)
			}
		}
	}
	return t
}

// Histograms are the numbers of the run's sockets in TIME_WAIT and in FIN_WAIT_2, and of ports in use in
// each space, at each census; and of all sockets in TIME_WAIT in the namespace at each sample.
func (o *Sampler) Histograms() (map[string]metrics.Histogram, error) {
	named := map[string]metrics.Histogram{}
	for name, r := range o.counted {
		if r.Count() == 0 {
			continue
		}
		h, err := r.Export()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		named[name] = h
	}
	return named, nil
}

// clone copies a reading, because the next one uses its memory.
func (c Counters) clone() Counters {
	return Counters{layout: c.layout, values: slices.Clone(c.values)}
}

// copy copies a reading into the memory of c.
func (c *Counters) copy(from Counters) {
	c.layout = from.layout
	c.values = append(c.values[:0], from.values...)
}

// threadTime is the processor time of the calling thread.
func threadTime() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}
