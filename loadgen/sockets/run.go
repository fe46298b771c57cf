// Package sockets is the engine that opens TCP connections of the kernel, plays one lifecycle on
// each, and records how every one of them ended and how long its parts took.
//
// One loop is one locked thread, one epoll instance, one slab of connections and one set of
// histograms; loops share nothing. Between the arrival of a connection and its end nothing is
// allocated and nothing is locked. An attempt that fails is data, with a name, a stage and an errno:
// it is never dropped and never tried again in silence. An error is for a run that cannot go on.
package sockets

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
	"tcpbench/metrics"
)

// run is what the loops of one run have in common. All but the atomics is read-only once they
// have started. Times are nanoseconds since base.
type run struct {
	loadgen.Config
	base      time.Time
	events    chan loopEvent
	stopAt    atomic.Int64 // arrivals end, early or in time
	abandonAt atomic.Int64 // attempts still in flight are left open
	holdFrom  atomic.Int64 // a population is held; pace.Never before it is there
	reason    atomic.Pointer[string]
	upperHalf *atomic.Bool
	loops     []*loop
}

// newRun returns a run that has not begun: it has no loops.
func newRun(cfg loadgen.Config, upperHalf *atomic.Bool) *run {
	if upperHalf == nil {
		upperHalf = new(atomic.Bool)
	}
	r := &run{Config: cfg, events: make(chan loopEvent, 8*cfg.Loops), upperHalf: upperHalf, base: time.Now()}
	r.stopAt.Store(pace.Never)
	r.abandonAt.Store(pace.Never)
	r.holdFrom.Store(pace.Never)
	if cfg.Duration > 0 {
		r.endAt(int64(cfg.Warmup + cfg.Duration))
	}
	return r
}

// now is the clock of a run: monotonic nanoseconds since its start.
func (r *run) now() int64 { return int64(time.Since(r.base)) }

// forGood is longer than any run. Instants are sums of up to three durations, which
// must not wrap around.
const forGood = math.MaxInt64 / 4 * time.Nanosecond

// grace is how long a drain after an interruption may last: long enough for what is
// under way on a network, short enough for someone who pressed Ctrl-C.
const grace = time.Second

// stop ends the arrivals now. The first reason stays.
func (r *run) stop(reason string) {
	r.reason.CompareAndSwap(nil, &reason)
	now := r.now()
	lower(&r.stopAt, now)
	lower(&r.abandonAt, now+int64(min(r.Timeout, grace)))
	r.wake()
}

// hold begins the hold of a population now.
func (r *run) hold() {
	now := r.now()
	r.holdFrom.Store(now)
	r.endAt(now + int64(r.HoldFor))
	r.wake()
}

func (r *run) wake() {
	for _, l := range r.loops {
		l.poller.Wake()
	}
}

// endAt plans the end of the arrivals and of the run: a timeout later, and if a population is held,
// after the time that the closes take.
func (r *run) endAt(at int64) {
	lower(&r.stopAt, at)
	last := at + int64(r.Timeout)
	if r.HoldFor > 0 {
		// A million closes take longer than a stage of one connection.
		last += int64(r.Connections) * int64(100*time.Microsecond)
	}
	if r.CloseRate > 0 {
		last += int64(min(float64(r.Connections)/r.CloseRate.PerSecond()*1e9, float64(forGood)))
	}
	lower(&r.abandonAt, last)
}

func lower(a *atomic.Int64, to int64) {
	for old := a.Load(); to < old; old = a.Load() {
		if a.CompareAndSwap(old, to) {
			return
		}
	}
}

// Engine is the loadgen.Engine of the kernel's TCP: sockets and epoll.
type Engine struct{}

var _ loadgen.Engine = Engine{}

// Name returns "sockets".
func (Engine) Name() string { return "sockets" }

// Check returns an error if the configuration is wrong or this kernel lacks an option.
func (Engine) Check(cfg *loadgen.Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	return tryOptions(&cfg.Options, cfg.Targets)
}

// Run loads the targets until the run's bound is reached or ctx ends, and then waits for the
// connections in flight. An interrupted run returns what it measured and no error.
func (e Engine) Run(ctx context.Context, cfg loadgen.Config, obs loadgen.Observer) (metrics.ClientReport, error) {
	failed := func(err error) (metrics.ClientReport, error) {
		return metrics.ClientReport{}, fmt.Errorf("load: %w", err)
	}
	if cfg.Loops == 0 {
		cfg.Loops = runtime.NumCPU()
	}
	if err := e.Check(&cfg); err != nil {
		return failed(err)
	}
	for _, d := range []*time.Duration{&cfg.Warmup, &cfg.Duration, &cfg.Timeout, &cfg.HoldFor} {
		*d = min(*d, forGood)
	}
	cfg.Loops = max(1, min(cfg.Loops, cfg.Connections/max(cfg.Parts, 1)))
	all, err := pace.Pairs(cfg.Targets, cfg.Sources)
	if err != nil {
		return failed(err)
	}
	r := newRun(cfg, obs.UpperHalf)
	defer func() {
		for _, l := range r.loops {
			_ = l.poller.Close()
		}
	}()
	for i := range cfg.Loops {
		l, err := newLoop(r, i, newTuples(&r.Config, i, all))
		if err != nil {
			return failed(fmt.Errorf("loop %d: %w", i, err))
		}
		r.loops = append(r.loops, l)
	}
	// A loop that sits in a raw system call keeps its processor slot of the Go
	// scheduler; the collector and the garbage collector need others.
	if want := cfg.Loops + 2; runtime.GOMAXPROCS(0) < want {
		runtime.GOMAXPROCS(want)
	}
	r.base = time.Now()
	for _, l := range r.loops {
		go l.live()
	}
	return collect(ctx, r, obs)
}

// usage returns the processor time of this process, and its largest resident size.
func usage() (user, system int64, rss uint64) {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0, 0, 0
	}
	return u.Utime.Nano(), u.Stime.Nano(), uint64(u.Maxrss) << 10
}
