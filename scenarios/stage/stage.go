package stage

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"

	"tcpbench/internal/agent"
	"tcpbench/internal/kernel"
	"tcpbench/internal/kernel/sockdiag"
	"tcpbench/internal/kernel/sysinfo"
	"tcpbench/internal/kernel/trace"
	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
	"tcpbench/loadgen/sockets"
	"tcpbench/metrics"
)

const (
	// settlePatience bounds the wait for the server to see the end of what the client has closed.
	settlePatience = time.Second
	// samplePatience bounds the wait for a server that is asked for its counts.
	samplePatience = 5 * time.Second
)

// mark is what both sides and the machine had used at one moment.
type mark struct {
	server *ServerUsage
	own    time.Duration // by this process, which watches and carries the packets of a lab
	cpu    kernel.CPUTimes
}

// stage is one run under way.
type stage struct {
	plan    *Plan
	obs     Observer
	ticks   <-chan time.Time // each second
	place   func(Side) agent.Place
	clients []*agent.Remote
	said    chan saying        // by clients
	left    chan struct{}      // closed when nobody listens to clients any more
	servers []*agent.Remote    // none for a foreign server
	owned   [][]netip.AddrPort // where each of them listens
	rows    []metrics.Row
	periods map[loadgen.Period]int // clients that have entered it
	from    mark
	kept    mark // when a held population was there
	to      mark
	before  counters
	seen    []*observation // of each namespace; none if the plan does not observe
	tracer  *trace.Tracer  // nil without tracing
	// untraced is why tracing was requested but failed, unobserved the same of observing.
	untraced, unobserved error
	// serverLost is how a server ended that ended too early.
	serverLost error
	// unfollow ends what happens to the link and to processes, and actFailed has its errors.
	unfollow  func() error
	actFailed <-chan error
	// earliest is a time before which the measured load did not begin, and freezeLate is how late
	// after it the processes of a plan's Freeze were stopped.
	earliest   time.Time
	freezeLate time.Duration
}

// Run runs the plan. If ctx ends, the run ends in order, and the result holds what was measured so
// far. An error means that there is no result.
func Run(ctx context.Context, plan Plan, obs Observer) (*metrics.Result, error) {
	s := newStage(&plan, obs)
	s.place = func(of Side) agent.Place { return agent.Processes{Enter: plan.at(of)} }
	return s.run(ctx)
}

func newStage(plan *Plan, obs Observer) *stage {
	return &stage{
		plan: plan, obs: obs, periods: map[loadgen.Period]int{},
		said: make(chan saying), left: make(chan struct{}),
		unfollow: func() error { return nil },
	}
}

func (s *stage) run(ctx context.Context) (*metrics.Result, error) {
	plan := s.plan
	if err := plan.settleIn(); err != nil {
		return nil, err
	}
	host, err := plan.describeHost()
	if err != nil {
		return nil, err
	}
	forecast := plan.Forecast(&host)
	if s.obs.Forecast != nil && len(forecast) > 0 {
		s.obs.Forecast(forecast)
	}
	defer s.close()
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	s.ticks = ticker.C
	if err := s.startServers(); err != nil {
		return nil, err
	}
	if err := plan.do(Client, func() error {
		host.Listening = sockdiag.ListeningPorts() // including those of the run's own servers
		return nil
	}); err != nil {
		return nil, err
	}
	if err := s.greet(ctx); err != nil {
		return nil, err
	}
	if err := s.preflight(ctx); err != nil {
		return nil, err
	}
	if err := s.startClients(); err != nil {
		return nil, err
	}
	s.startObserving(&host)
	defer s.stopTracing()
	defer func() { _ = s.unfollow() }() // the error of a run that failed is another
	started := time.Now()
	report, err := s.drive(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.unfollow(); err != nil {
		return nil, err
	}
	served := s.settle(&report)
	s.endObserving()
	after, err := plan.readCounters()
	if err != nil {
		return nil, err
	}
	host.LoadAfter, host.Interfaces = sysinfo.Load(), sysinfo.Interfaces(plan.Client.Targets)
	r := &metrics.Result{
		Schema: metrics.Schema, Tool: plan.Tool, Host: host,
		Scenario: describe(plan), Command: plan.Command, Started: started,
		Series: s.rows, Forecast: forecast,
	}
	if plan.Lab != nil {
		if r.Lab, err = plan.Lab.report(); err != nil {
			return nil, err
		}
	}
	s.fill(r, &report)
	if err := serve(r, served); err != nil {
		return nil, err
	}
	if err := s.fillKernel(r); err != nil {
		return nil, err
	}
	s.judge(r, &report, after.since(s.before))
	return r, nil
}

// greet asks every foreign target of a script whether it is a tcpbench server and accepts the
// script. The run counts targets that cannot be reached.
func (s *stage) greet(ctx context.Context) error {
	if !s.plan.Scripted {
		return nil
	}
	if s.plan.Server != nil {
		s.askWhy()
		return nil
	}
	tell := true                                                      // all say why they refuse
	request := len(s.plan.Client.Lifecycle.Request) - wire.HeaderSize // the limit is of payload
	response := s.plan.Client.Lifecycle.Response.Bytes
	for _, target := range s.plan.Client.Targets {
		limits, err := sockets.Hello(ctx, target, s.plan.Client.Timeout)
		switch {
		case errors.Is(err, sockets.ErrForeign):
			return fmt.Errorf("%s: %w (%w): say what to send with --payload and when the answer is whole with --until, or use --connect-only",
				target, ErrNotTCPBench, err)
		case errors.Is(err, sockets.ErrRefused): // it said why; the run counts what it accepts
			continue
		case err != nil:
			tell = false
			continue
		case int64(request) > int64(limits.RequestSize):
			return fmt.Errorf("%s accepts requests of up to %d bytes, this one has %d: make --request-size smaller", target, limits.RequestSize, request)
		case response > int64(limits.ResponseSize):
			return fmt.Errorf("%s sends responses of up to %d bytes, not %d: make --response-size smaller", target, limits.ResponseSize, response)
		}
		if s.plan.Client.Lifecycle.Pattern && !limits.Pattern {
			return fmt.Errorf("%s is a tcpbench server that only sends zeros: start one of this version there, or leave out --check-content", target)
		}
		tell = tell && limits.Refusals
	}
	if tell {
		s.askWhy()
	}
	return nil
}

// askWhy has the clients ask servers to say why they refuse a connection. A server of the first
// version would not know such a header.
func (s *stage) askWhy() {
	request := slices.Clone(s.plan.Client.Lifecycle.Request)
	if script, err := wire.Parse(request); err == nil {
		script.Refusals = true
		script.Append(request[:0])
		s.plan.Client.Lifecycle.Request = request
	}
}

// drive starts the clients and listens to them until all are done.
func (s *stage) drive(ctx context.Context) (metrics.ClientReport, error) {
	var err error
	if s.before, err = s.plan.readCounters(); err != nil {
		return metrics.ClientReport{}, err
	}
	now := time.Now()
	s.earliest = now.Add(s.plan.Client.Warmup)
	if err := each(s.clients, func(r *agent.Remote) error { return r.Start(now) }); err != nil {
		return metrics.ClientReport{}, err
	}
	// The clients themselves bound how long they take to stop.
	release := context.AfterFunc(ctx, func() { _ = each(s.clients, (*agent.Remote).Stop) })
	defer release()
	var total metrics.ClientReport
	intervals := metrics.NewLineup[metrics.Interval](len(s.clients))
	quiet := make(silence, len(s.clients))
	for done := 0; done < len(s.clients); {
		var m saying
		select {
		case m = <-s.said:
			quiet[m.from] = 0
		case <-s.ticks:
			if err := quiet.tick(s.plan, s.clients); err != nil {
				return total, err
			}
			continue
		case err := <-s.plan.Lab.broken():
			return total, brokenLink(err)
		case err := <-s.actFailed: // from now on another link would be measured
			return total, err
		}
		var e clientEvent
		var report metrics.ClientReport
		switch {
		case m.err != nil:
			err = m.err
		case m.Type == agent.Done:
			done++
			quiet[m.from] = math.MinInt // for good
			intervals.End(m.from)
			if err = m.Into(&report); err == nil {
				err = errors.Join(total.Merge(report), s.give(intervals))
			}
		default:
			if err = m.Into(&e); err == nil {
				err = s.hear(m.from, &e, intervals)
			}
		}
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// hear deals with an event of a client.
func (s *stage) hear(from int, e *clientEvent, intervals *metrics.Lineup[metrics.Interval]) error {
	if e.Interval == nil {
		return s.enter(e.Period, e.Over)
	}
	intervals.Add(from, e.Interval.Index, *e.Interval)
	return s.give(intervals)
}

// give passes on the seconds to which no client can add any more.
func (s *stage) give(intervals *metrics.Lineup[metrics.Interval]) error {
	for parts, ok := intervals.Take(); ok; parts, ok = intervals.Take() {
		row, err := metrics.MergeIntervals(parts)
		if err != nil {
			return err
		}
		s.rows = append(s.rows, row)
		if s.obs.Row != nil {
			s.obs.Row(row)
		}
	}
	return nil
}

// enter notes that one more client has entered a period. It tells the servers when the warm-up is
// over, notes what has been used when the measured time begins with the first client and ends with
// the last, and begins the hold when the populations of all are there.
func (s *stage) enter(p loadgen.Period, over time.Time) error {
	s.periods[p]++
	first, last := s.periods[p] == 1, s.periods[p] == len(s.clients)
	switch {
	case p == loadgen.WarmingUp && first:
		if s.plan.Client.Process != pace.Bursts { // the first burst ends the warm-up
			s.endWarmUp(over)
		}
	case p == loadgen.Measuring && first:
		if s.plan.Client.Process != pace.Hold { // before the mark, which takes its time
			s.actFailed, s.unfollow = follow(s.acts())
		}
		s.from = s.mark()
		now := time.Now()
		for _, o := range s.seen {
			if err := o.Start(now); err != nil {
				s.unobserved = err
			}
		}
	case p == loadgen.Draining && last:
		if s.plan.Freeze != nil {
			if err := s.unfollow(); err != nil { // a server that is stopped does not answer
				return err
			}
		}
		s.to = s.mark()
	case p == loadgen.Holding && last:
		s.kept = s.mark()
		s.earliest = time.Now()
		if err := s.tell(wordHold); err != nil {
			return err
		}
		s.actFailed, s.unfollow = follow(s.acts())
	}
	if s.obs.Period != nil && (first && (p == loadgen.WarmingUp || p == loadgen.Measuring) || last && (p == loadgen.Holding || p == loadgen.Draining)) {
		s.obs.Period(p)
	}
	return nil
}

// endWarmUp tells the servers when the measured time begins, from which they count anew. A message
// at that time would reach them late.
func (s *stage) endWarmUp(at time.Time) {
	for _, r := range s.servers {
		if err := r.Start(at); err != nil && s.serverLost == nil {
			s.serverLost = err
		}
	}
}

func (s *stage) mark() mark {
	cpu, err := kernel.Stat()
	if err != nil {
		cpu = kernel.CPUTimes{} // shares between two of these are zero: not known
	}
	return mark{server: s.sample(), own: kernel.ProcessTime(), cpu: cpu}
}

// settle waits until the servers have accepted and closed what the clients have opened and closed:
// when the clients are done the last connections are still in the queues.
func (s *stage) settle(report *metrics.ClientReport) *ServerUsage {
	if s.periods[loadgen.Measuring] == 0 { // interrupted before
		s.endWarmUp(time.Time{})
	}
	for deadline := time.Now().Add(settlePatience); ; time.Sleep(5 * time.Millisecond) {
		u := s.sample()
		if u == nil {
			return nil
		}
		settled := u.Server.Before().Accepted+u.Server.Accepted >= report.Established && u.Server.Open <= report.Open
		if settled || time.Now().After(deadline) {
			return u
		}
	}
}
