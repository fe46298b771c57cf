// Package loadgen is the client: it opens TCP connections by a schedule, plays one
// lifecycle on each, and records how every one of them ended and how long its parts
// took.
//
// One loop is one locked thread, one epoll instance, one slab of connections and one
// set of histograms; loops share nothing. Between the arrival of a connection and its
// end nothing is allocated and nothing is locked. An attempt that fails is data, with
// a name, a stage and an errno behind it: it is never dropped and never tried again
// in silence. An error is for a run that cannot go on.
//
// The package knows nothing of servers, children or results: it takes a Config and
// gives a metrics.ClientReport.
package loadgen

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/metrics"
)

// Process is an arrival process: who connects when.
type Process string

const (
	// Closed keeps a number of connections in flight: one ends, the next begins.
	Closed Process = "closed"
	// Constant starts connections at equal distances, whatever became of the earlier ones.
	Constant Process = "constant"
	// Poisson starts connections at exponentially distributed distances.
	Poisson Process = "poisson"
	// Bursts starts many connections at one instant, and again.
	Bursts Process = "burst"
	// Hold opens a population once and keeps it.
	Hold Process = "hold"
)

// Policy says what to do when no four-tuple is free.
type Policy string

const (
	// CountExhausted counts the attempt as failed and goes on.
	CountExhausted Policy = "count"
	// WaitExhausted holds the attempt until a four-tuple is free or it times out.
	WaitExhausted Policy = "wait"
	// StopExhausted ends the run.
	StopExhausted Policy = "stop"
)

// Config describes a run. The zero value of a bound means: not bounded by it; one of
// Duration and Count must be set.
type Config struct {
	Targets []netip.AddrPort `json:"targets"`
	// Sources are bound in turn; empty leaves the choice to the kernel.
	Sources Sources `json:"sources,omitempty"`
	Process Process `json:"process"`
	// Connections is the number in flight of a closed process, and the number of
	// slots of an open one: an arrival that finds no slot is missed.
	Connections int `json:"connections"`
	// Profile is the rate of an open process over the measured time.
	Profile Profile `json:"profile,omitempty"`
	// Burst connections are due at one instant, again every Every.
	Burst int           `json:"burst,omitempty"`
	Every time.Duration `json:"every,omitempty"`
	// Replace makes a held population replace the connections that it loses.
	Replace bool `json:"replace,omitempty"`
	// HoldFor is how long a held population is kept once it is there.
	HoldFor time.Duration `json:"hold_for,omitempty"`
	// OpenRate, ExchangeRate and CloseRate bound how many connections per second open
	// in a closed or held process, exchange, and close; zero does not.
	OpenRate     Rate   `json:"open_rate,omitempty"`
	ExchangeRate Rate   `json:"exchange_rate,omitempty"`
	CloseRate    Rate   `json:"close_rate,omitempty"`
	Seed         uint64 `json:"seed,omitempty"`

	Lifecycle Lifecycle `json:"lifecycle"`
	Options   Options   `json:"options"`
	// Loops is the number of threads; zero means one for each processor.
	Loops int `json:"loops"`
	// Part is the place of this client among Parts clients that share the run: each
	// takes its share of connections, arrivals and rates. Zero Parts means one.
	Part  int `json:"part,omitempty"`
	Parts int `json:"parts,omitempty"`
	// Warmup is loaded like the rest and not recorded.
	Warmup   time.Duration `json:"warmup"`
	Duration time.Duration `json:"duration"`
	Count    uint64        `json:"count"`
	// Timeout bounds each stage of a connection: connect, exchange, close.
	Timeout     time.Duration `json:"timeout"`
	OnExhausted Policy        `json:"on_exhausted"`
}

// Phase is a part of a run.
type Phase string

// The phases, in order. A run without a warm-up begins with Measuring.
const (
	WarmingUp Phase = "warm-up"
	Measuring Phase = "measuring"
	Holding   Phase = "holding" // a held population is there
	Draining  Phase = "draining"
)

// Observer is told of a run while it goes on. Both functions are called on one
// goroutine and must return soon; nil ones are not called.
type Observer struct {
	Phase    func(Phase)
	Interval func(metrics.Interval)
	// Holds is told that a held population is there, and calls begin, then or later, to
	// begin the hold; if it is nil the hold begins at once. So the populations of several
	// clients can be held together.
	Holds func(begin func())
	// UpperHalf is set by who sees that half of the range of local ports is taken: from
	// then on connect() calls are recorded in a histogram of their own, too, for there
	// the kernel's search gets slow.
	UpperHalf *atomic.Bool
}

func (c *Config) validate() error {
	switch {
	case len(c.Targets) == 0:
		return errors.New("no target")
	case c.Connections < 1:
		return errors.New("connections: want 1 or more")
	case c.Loops < 0:
		return errors.New("loops: want 1 or more, or 0 for one on each processor")
	case c.Timeout <= 0:
		return errors.New("timeout: want more than 0")
	case c.Duration < 0 || c.Warmup < 0:
		return errors.New("a duration is negative")
	case c.Duration == 0 && c.Count == 0 && c.HoldFor == 0:
		return errors.New("neither a duration nor a count bounds the run")
	}
	switch c.Process {
	case Closed:
	case Hold:
		if c.HoldFor <= 0 {
			return errors.New("a held population needs to be held for a time")
		}
	case Bursts:
		if c.Burst < 1 || c.Every < 0 {
			return errors.New("a burst needs one connection or more, again after a time that is not negative")
		}
		if c.Every == 0 && c.Duration == 0 && c.Count > uint64(c.Burst) {
			return errors.New("one burst has fewer connections than the count that bounds the run")
		}
	case Constant, Poisson:
		if err := c.Profile.validate(); err != nil {
			return err
		}
	default:
		return fmt.Errorf("unknown arrival process %q", c.Process)
	}
	switch c.OnExhausted {
	case CountExhausted, WaitExhausted, StopExhausted:
	default:
		return fmt.Errorf("unknown policy on exhaustion %q", c.OnExhausted)
	}
	return c.Lifecycle.validate()
}

// run is what the loops of one run have in common. Everything but the atomics is
// read-only once they have started.
type run struct {
	Config
	base   time.Time
	events chan loopEvent
	// stopAt is the time since base at which arrivals end, early or in time.
	stopAt atomic.Int64
	// abandonAt is the time at which attempts still open are left open.
	abandonAt atomic.Int64
	// holdFrom is the time from which a held population is kept; never before it is there.
	holdFrom  atomic.Int64
	reason    atomic.Pointer[string]
	upperHalf *atomic.Bool
	loops     []*loop
}

// place is the place of a loop among the loops of all clients, of which there are places.
func (c *Config) place(loop int) int { return c.Part*c.Loops + loop }
func (c *Config) places() int        { return max(c.Parts, 1) * c.Loops }

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
	for _, l := range r.loops {
		l.poller.Wake()
	}
}

// beginHold plans the end of a hold that begins now.
func (r *run) beginHold() {
	now := r.now()
	r.holdFrom.Store(now)
	r.endAt(now + int64(r.HoldFor))
	for _, l := range r.loops {
		l.poller.Wake()
	}
}

// endAt plans the end of the arrivals, and after it of all: a timeout later, and where
// connections were kept, after the time that the rate of closing takes.
func (r *run) endAt(at int64) {
	lower(&r.stopAt, at)
	last := at + int64(r.Timeout)
	if r.HoldFor > 0 {
		// A million closes are no stage of one connection.
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

// Run loads the targets until the run's bound is reached or ctx ends, and then waits
// for what is under way. An interrupted run returns what it measured and no error.
func Run(ctx context.Context, cfg Config, obs Observer) (metrics.ClientReport, error) {
	if cfg.Loops == 0 {
		cfg.Loops = runtime.NumCPU()
	}
	if err := cfg.validate(); err != nil {
		return metrics.ClientReport{}, fmt.Errorf("load: %w", err)
	}
	cfg.Warmup, cfg.Duration, cfg.Timeout = min(cfg.Warmup, forGood), min(cfg.Duration, forGood), min(cfg.Timeout, forGood)
	cfg.HoldFor = min(cfg.HoldFor, forGood)
	cfg.Loops = max(1, min(cfg.Loops, cfg.Connections/max(cfg.Parts, 1)))
	if err := cfg.Options.try(cfg.Targets); err != nil {
		return metrics.ClientReport{}, fmt.Errorf("load: %w", err)
	}
	r := &run{Config: cfg, events: make(chan loopEvent, 8*cfg.Loops), upperHalf: obs.UpperHalf}
	if r.upperHalf == nil {
		r.upperHalf = new(atomic.Bool)
	}
	all, err := spaces(cfg.Targets, cfg.Sources)
	if err != nil {
		return metrics.ClientReport{}, fmt.Errorf("load: %w", err)
	}
	defer func() {
		for _, l := range r.loops {
			_ = l.poller.Close()
		}
	}()
	for i := range cfg.Loops {
		l, err := newLoop(r, i, stripe(all, r.place(i), r.places()))
		if err != nil {
			return metrics.ClientReport{}, fmt.Errorf("load: loop %d: %w", i, err)
		}
		r.loops = append(r.loops, l)
	}
	// A loop that sits in a raw system call keeps its processor slot of the Go
	// scheduler; the collector and the garbage collector need others.
	if want := cfg.Loops + 2; runtime.GOMAXPROCS(0) < want {
		runtime.GOMAXPROCS(want)
	}
	r.base = time.Now()
	r.stopAt.Store(never)
	r.abandonAt.Store(never)
	r.holdFrom.Store(never)
	if cfg.Duration > 0 {
		r.endAt(int64(cfg.Warmup + cfg.Duration))
	}
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
