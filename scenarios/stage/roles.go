package stage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"tcpbench/internal/agent"
	"tcpbench/loadgen"
	"tcpbench/loadgen/sockets"
	"tcpbench/metrics"
	"tcpbench/server"
)

// Roles are what the processes of a run can be. A program that stages runs asks agent.Invoked
// first of all, and then calls agent.Main with them.
func Roles() agent.Roles {
	return agent.Roles{
		clientRole: func() agent.Role { return &client{hold: make(chan func(), 1)} },
		serverRole: func() agent.Role { return &serving{} },
	}
}

const (
	clientRole   = "client"
	serverRole   = "server"
	observerRole = "observer"
)

// The words that a client knows.
const (
	wordHold  = "hold"  // to one whose population is there: begin the hold
	wordUpper = "upper" // half of a range of local ports is taken from here on
)

// client is the role of a process that makes load. Its spec is a loadgen.Config, its events are
// clientEvents, and its result is a metrics.ClientReport.
type client struct {
	cfg   loadgen.Config
	voice *agent.Voice
	ctx   context.Context
	stop  context.CancelFunc
	hold  chan func()
	upper atomic.Bool
	ran   bool
}

// clientEvent says that a client has entered a period, or is one second of its run.
type clientEvent struct {
	Period   loadgen.Period    `json:"period,omitempty"`
	Over     time.Time         `json:"over,omitzero"` // of a warm-up: when it ends
	Interval *metrics.Interval `json:"interval,omitempty"`
}

func (c *client) Prepare(ctx context.Context, spec json.RawMessage, voice *agent.Voice) (any, error) {
	c.voice = voice
	c.ctx, c.stop = context.WithCancel(ctx)
	return nil, json.Unmarshal(spec, &c.cfg)
}

func (c *client) Start(at time.Time) error {
	if c.ran {
		return errors.New("a client starts once")
	}
	c.ran = true
	go func() {
		select {
		case <-time.After(time.Until(at)):
		case <-c.ctx.Done():
		}
		report, err := sockets.Engine{}.Run(c.ctx, c.cfg, loadgen.Observer{
			UpperHalf: &c.upper,
			Period: func(p loadgen.Period) {
				e := clientEvent{Period: p}
				if p == loadgen.WarmingUp {
					e.Over = time.Now().Add(c.cfg.Warmup)
				}
				c.voice.Event(e)
			},
			Interval: func(i metrics.Interval) { c.voice.Event(clientEvent{Interval: &i}) },
			Populated: func(hold func()) {
				// What the ramp has left behind is no cost of a population.
				debug.FreeOSMemory()
				c.hold <- hold
				c.voice.Event(clientEvent{Period: loadgen.Holding})
			},
		})
		c.voice.End(report, err)
	}()
	return nil
}

func (c *client) Tell(word string) error {
	switch word {
	case wordUpper:
		c.upper.Store(true)
		return nil
	case wordHold:
		select {
		case hold := <-c.hold:
			hold()
			return nil
		default:
			return errors.New("a client was told to hold a population that is not there")
		}
	}
	return fmt.Errorf("a client does not know the word %q", word)
}

func (c *client) Sample() (any, error) { return nil, nil }

func (c *client) Stop() error {
	c.stop()
	if !c.ran {
		c.voice.End(nil, nil)
	}
	return nil
}

// serving is the role of a process that is a server. Its spec is a server.Config; when it is
// ready it tells its addresses ([]netip.AddrPort). Start ends the warm-up.
type serving struct{ *server.Server }

// ServerUsage is what a server has used since it began, and what it has counted since the
// warm-up was over, or since it began if there was none.
type ServerUsage struct {
	agent.Usage `json:"-"`
	Server      *metrics.ServerReport `json:"server"`
	// Histograms are what only a server can measure.
	Histograms map[string]metrics.Histogram `json:"histograms,omitempty"`
}

// stopPatience bounds the end of a server that is told to stop.
const stopPatience = 2 * time.Second

func (s *serving) Prepare(ctx context.Context, spec json.RawMessage, voice *agent.Voice) (any, error) {
	var cfg server.Config
	err := json.Unmarshal(spec, &cfg)
	if err == nil {
		s.Server, err = server.Start(cfg)
	}
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() { _ = s.Stop() })
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), cfg.Loops+1))
	go func() {
		<-s.Done()
		err := s.Err()
		if err != nil {
			err = fmt.Errorf("server ended: %w", err)
		}
		voice.End(nil, err)
	}()
	return s.Addrs(), nil
}

func (s *serving) Start(at time.Time) error {
	if wait := time.Until(at); wait > 0 {
		time.AfterFunc(wait, s.Mark)
	} else {
		s.Mark()
	}
	return nil
}

func (s *serving) Sample() (any, error) {
	before := s.Marked() // first: it never exceeds what is counted after it
	report := reportOf(s.Stats())
	if before.Closed != nil {
		report = report.Since(reportOf(before))
	}
	histograms, err := s.Histograms()
	return ServerUsage{Server: &report, Histograms: histograms}, err
}

func (s *serving) Stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopPatience)
	defer cancel()
	return s.Server.Stop(ctx)
}

func reportOf(s server.Stats) metrics.ServerReport {
	r := metrics.ServerReport{Accepted: s.Accepted, Open: s.Open, Exchanges: s.Exchanges, Closed: s.Closed}
	if s.Beats != (metrics.Beats{}) {
		r.Beats = &s.Beats
	}
	return r
}

// StartServer starts a server, and returns the addresses that it listens on.
func StartServer(place agent.Place, cfg *server.Config) (r *agent.Remote, addrs []netip.AddrPort, err error) {
	r, err = agent.New(place, serverRole, cfg, &addrs, nil)
	return r, addrs, err
}

// SampleServer asks a server what it has used and counted. One that does not answer in time is
// closed.
func SampleServer(r *agent.Remote, within time.Duration) (u *ServerUsage, err error) {
	u = &ServerUsage{}
	u.Usage, err = r.Sample(within, u)
	return u, err
}
