// Package loadgen describes the load of a client: who connects when, what a connection does, and
// the Engine that plays it. Engines stand beside each other in packages below: sockets is the
// kernel's TCP. Package pace says when something is due.
package loadgen

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"

	"tcpbench/loadgen/pace"
	"tcpbench/metrics"
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
	Sources pace.Sources `json:"sources,omitempty"`
	Process pace.Process `json:"process"`
	// Connections is the number in flight of a closed process, and the number of
	// slots of an open one: an arrival that finds no slot is missed.
	Connections int `json:"connections"`
	// Profile is the rate of an open process over the measured time.
	Profile pace.Profile `json:"profile,omitempty"`
	// Burst connections are due at one instant, again every Every.
	Burst int           `json:"burst,omitempty"`
	Every time.Duration `json:"every,omitempty"`
	// Replace makes a held population replace the connections that it loses.
	Replace bool `json:"replace,omitempty"`
	// HoldFor is how long a held population is kept once it is there.
	HoldFor time.Duration `json:"hold_for,omitempty"`
	// OpenRate, ExchangeRate and CloseRate bound how many connections per second open
	// in a closed or held process, exchange, and close; zero does not.
	OpenRate     pace.Rate `json:"open_rate,omitempty"`
	ExchangeRate pace.Rate `json:"exchange_rate,omitempty"`
	CloseRate    pace.Rate `json:"close_rate,omitempty"`
	Seed         uint64    `json:"seed,omitempty"`

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

// Engine plays lifecycles against targets. An attempt that fails is counted in the report; an
// error is for a run that cannot begin or go on.
type Engine interface {
	Name() string
	// Check returns an error if the engine cannot run the configuration on this machine.
	Check(*Config) error
	// Run loads the targets until the run's bound is reached or ctx ends, and then waits for
	// the connections in flight. An interrupted run returns what it measured and no error.
	Run(context.Context, Config, Observer) (metrics.ClientReport, error)
}

// Validate returns an error that names what is wrong with the configuration.
func (c *Config) Validate() error {
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
	case pace.Closed:
	case pace.Hold:
		if c.HoldFor <= 0 {
			return errors.New("a held population needs to be held for a time")
		}
	case pace.Bursts:
		if c.Burst < 1 || c.Every < 0 {
			return errors.New("a burst needs one connection or more, again after a time that is not negative")
		}
		if c.Every == 0 && c.Duration == 0 && c.Count > uint64(c.Burst) {
			return errors.New("one burst has fewer connections than the count that bounds the run")
		}
	case pace.Constant, pace.Poisson:
		if err := c.Profile.Validate(); err != nil {
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

// Place is the place of a loop among the loops of all clients, of which there are places.
func (c *Config) Place(loop int) int { return c.Part*c.Loops + loop }
func (c *Config) Places() int        { return max(c.Parts, 1) * c.Loops }

// Plan is what the arrivals of a loop follow from.
func (c *Config) Plan(loop int) pace.Plan {
	return pace.Plan{
		Process: c.Process, Profile: c.Profile, Burst: c.Burst, Every: c.Every, Warmup: c.Warmup,
		Seed: c.Seed, Place: c.Place(loop), Places: c.Places(),
	}
}
