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

// Observer is told of a run while it goes on. Its functions are called on one goroutine and must
// return soon; nil ones are not called.
type Observer struct {
	Period   func(Period)
	Interval func(metrics.Interval)
	// Populated is told that a population to hold is there, and calls hold, then or later, to
	// begin the hold, so that several clients can hold together. If it is nil the hold begins
	// at once.
	Populated func(hold func())
	// UpperHalf is set while half of the range of local ports is taken. connect() calls are then
	// also recorded in a histogram of their own, because the kernel's search gets slow.
	UpperHalf *atomic.Bool
}

// Period is a part of a run.
type Period string

// The periods, in order. A run without a warm-up begins with Measuring.
const (
	WarmingUp Period = "warm-up"
	Measuring Period = "measuring"
	Holding   Period = "holding" // a population is held
	Draining  Period = "draining"
)

// Policy says what to do when no four-tuple is free.
type Policy string

const (
	// CountExhausted counts the attempt as failed and goes on.
	CountExhausted Policy = "count"
	// WaitExhausted parks the attempt until a four-tuple is free or it times out.
	WaitExhausted Policy = "wait"
	// StopExhausted ends the run.
	StopExhausted Policy = "stop"
)

// Config describes a run. A bound of zero does not bound it; one of Duration, Count and HoldFor
// must be set.
type Config struct {
	Targets []netip.AddrPort `json:"targets"`
	// Sources are bound in turn; empty leaves the choice to the kernel.
	Sources pace.Sources `json:"sources,omitempty"`
	Process pace.Process `json:"process"`
	// Connections is the number in flight of a closed loop and the number of slots of an open
	// one: an arrival that finds no free slot is missed.
	Connections int `json:"connections"`
	// Profile is the rate of an open loop over the measured time.
	Profile pace.Profile `json:"profile,omitempty"`
	// Burst connections are due at one instant, again every Every.
	Burst int           `json:"burst,omitempty"`
	Every time.Duration `json:"every,omitempty"`
	// HoldFor is how long a population is held once it is there. Replace opens a new connection
	// for each that it loses.
	HoldFor time.Duration `json:"hold_for,omitempty"`
	Replace bool          `json:"replace,omitempty"`
	// OpenRate, ExchangeRate and CloseRate bound how many connections per second open (in a
	// closed loop or to be held), exchange, and close. Zero does not.
	OpenRate     pace.Rate `json:"open_rate,omitempty"`
	ExchangeRate pace.Rate `json:"exchange_rate,omitempty"`
	CloseRate    pace.Rate `json:"close_rate,omitempty"`
	Seed         uint64    `json:"seed,omitempty"`

	Lifecycle Lifecycle `json:"lifecycle"`
	Options   Options   `json:"options"`
	// Loops is the number of threads; zero means one for each processor.
	Loops int `json:"loops"`
	// Part is the place of this client among Parts clients that share the run: each takes its
	// share of connections, arrivals and rates. Zero Parts means one.
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

// Options are socket options that change the life of a connection. The zero value sets
// none but IP_BIND_ADDRESS_NO_PORT, which a source address needs.
type Options struct {
	NoDelay    bool   `json:"nodelay,omitempty"`     // TCP_NODELAY
	QuickAck   bool   `json:"quickack,omitempty"`    // TCP_QUICKACK, once, before connect()
	FastOpen   bool   `json:"fastopen,omitempty"`    // TCP_FASTOPEN_CONNECT: the SYN may carry the request
	MPTCP      bool   `json:"mptcp,omitempty"`       // IPPROTO_MPTCP
	ReuseAddr  bool   `json:"reuseaddr,omitempty"`   // SO_REUSEADDR
	TakePort   bool   `json:"take_port,omitempty"`   // bind() without IP_BIND_ADDRESS_NO_PORT
	PortRange  [2]int `json:"port_range,omitempty"`  // IP_LOCAL_PORT_RANGE, lowest and highest
	FixedPorts bool   `json:"fixed_ports,omitempty"` // bind() to the ports of PortRange in turn
	SYNCount   int    `json:"syncnt,omitempty"`      // TCP_SYNCNT: retransmissions of the SYN
	TOS        int    `json:"tos,omitempty"`         // IP_TOS, IPV6_TCLASS
	Congestion string `json:"congestion,omitempty"`  // TCP_CONGESTION
	// KeepAlive turns SO_KEEPALIVE on: the first probe after this time without a segment, the next
	// ones KeepInterval apart, KeepProbes in all.
	KeepAlive    time.Duration `json:"keepalive,omitempty"`
	KeepInterval time.Duration `json:"keepalive_interval,omitempty"`
	KeepProbes   int           `json:"keepalive_probes,omitempty"`
	// UserTimeout is TCP_USER_TIMEOUT: how long sent data may stay unacknowledged.
	UserTimeout time.Duration `json:"user_timeout,omitempty"`
	// FinTimeout is TCP_LINGER2: how long a closed connection waits in FIN_WAIT_2. Whole seconds.
	FinTimeout time.Duration `json:"fin_timeout,omitempty"`
}

// Validate returns an error that says what is wrong with the configuration.
func (c *Config) Validate() error {
	if err := firstBroken([]rule{
		{len(c.Targets) == 0, "no target"},
		{c.Connections < 1, "connections: want 1 or more"},
		{c.Loops < 0, "loops: want 1 or more, or 0 for one on each processor"},
		{c.Timeout <= 0, "timeout: want more than 0"},
		{c.Duration < 0 || c.Warmup < 0, "a duration is negative"},
		{c.Duration == 0 && c.Count == 0 && c.HoldFor == 0, "neither a duration nor a count bounds the run"},
	}); err != nil {
		return err
	}
	var err error
	switch c.Process {
	case pace.Closed:
	case pace.Hold:
		err = firstBroken([]rule{{c.HoldFor <= 0, "a population needs a time to hold it for"}})
	case pace.Bursts:
		err = firstBroken([]rule{
			{c.Burst < 1 || c.Every < 0, "a burst needs one connection or more, again after a time that is not negative"},
			{c.Every == 0 && c.Duration == 0 && c.Count > uint64(c.Burst), "one burst has fewer connections than the count that bounds the run"},
		})
	case pace.Constant, pace.Poisson:
		err = c.Profile.Validate()
	default:
		err = fmt.Errorf("unknown arrival process %q", c.Process)
	}
	switch {
	case err != nil:
		return err
	case c.OnExhausted != CountExhausted && c.OnExhausted != WaitExhausted && c.OnExhausted != StopExhausted:
		return fmt.Errorf("unknown policy on exhaustion %q", c.OnExhausted)
	case c.Options.PortRange == [2]int{} && c.Options.FixedPorts:
		return errors.New("explicit source ports need a range to take them from")
	}
	if p := c.Options.PortRange; p != [2]int{} && (p[0] < 1 || p[1] > 65535 || p[0] > p[1]) {
		return fmt.Errorf("port range %d-%d: want 1 to 65535, the lower first", p[0], p[1])
	}
	return c.Lifecycle.validate()
}

// Place returns the place of a loop among the loops of all clients.
func (c *Config) Place(loop int) int { return c.Part*c.Loops + loop }

// Places returns the number of loops of all clients.
func (c *Config) Places() int { return max(c.Parts, 1) * c.Loops }

// Plan returns what the arrivals of a loop with a number of slots follow from.
func (c *Config) Plan(loop int, slots uint64) pace.Plan {
	p := pace.Plan{
		Process: c.Process, Profile: c.Profile, Burst: c.Burst, Every: c.Every, Warmup: c.Warmup, OpenRate: c.OpenRate,
		Seed: c.Seed, Quota: pace.NoQuota, Place: c.Place(loop), Places: c.Places(),
	}
	switch {
	case c.Process == pace.Hold && !c.Replace:
		p.Quota = slots
	case c.Count > 0:
		p.Quota = pace.Share(c.Count, p.Place, p.Places)
	}
	return p
}
