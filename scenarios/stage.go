package scenarios

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tcpbench/internal/child"
	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/metrics"
	"tcpbench/metrics/kernel"
)

// settlePatience bounds the wait for the server to have seen the end of what the client
// has closed.
const settlePatience = time.Second

// samplePatience bounds the wait for a server that is asked for its counts: one that hangs
// must not hang the run.
const samplePatience = 5 * time.Second

// mark is what both sides and the machine had used at one moment.
type mark struct {
	server *child.Usage
	cpu    kernel.CPUTimes
}

// stage is one run under way.
type stage struct {
	plan     *Plan
	obs      Observer
	client   *child.Process
	server   *child.Process // nil for a foreign server
	rows     []metrics.Row
	from, to mark
	before   kernel.Counters
	// serverLost is how the server ended, if it did before its time.
	serverLost error
}

// Run stages the plan. Ending ctx ends the run in order: the result then holds what was
// measured so far. An error means that there is no result.
func Run(ctx context.Context, plan Plan, obs Observer) (*metrics.Result, error) {
	s := &stage{plan: &plan, obs: obs}
	host := kernel.Host()
	defer s.close()
	if err := s.startServer(); err != nil {
		return nil, err
	}
	if err := s.greet(ctx); err != nil {
		return nil, err
	}
	if err := s.startClient(); err != nil {
		return nil, err
	}
	started := time.Now()
	report, err := s.drive(ctx)
	if err != nil {
		return nil, err
	}
	serverReport := s.settle(&report)
	after, err := kernel.ReadCounters()
	if err != nil {
		return nil, err
	}
	r := &metrics.Result{
		Schema: metrics.Schema, Tool: plan.Tool, Host: host,
		Scenario: describe(&plan), Command: plan.Command, Started: started,
		Series: s.rows, Server: serverReport,
	}
	s.fill(r, &report)
	s.judge(r, &report, after.Sub(s.before))
	return r, nil
}

func (s *stage) close() {
	for _, p := range []*child.Process{s.client, s.server} {
		if p != nil {
			p.Close()
		}
	}
}

func (s *stage) startServer() error {
	if s.plan.Server == nil {
		return nil
	}
	var err error
	if s.server, err = child.Spawn("server"); err != nil {
		return err
	}
	ready, err := within(startPatience, s.server, func() (child.Message, error) {
		return s.server.Ask(child.Message{Type: child.Prepare, Server: s.plan.Server}, child.Ready)
	})
	if err != nil {
		return err
	}
	s.plan.Client.Targets = ready.Addrs
	return nil
}

func (s *stage) startClient() error {
	if s.plan.Client.Sources == nil {
		s.plan.Client.Sources = LoopbackSources(s.plan.Client.Targets)
	}
	var err error
	if s.client, err = child.Spawn("client"); err != nil {
		return err
	}
	_, err = within(startPatience, s.client, func() (child.Message, error) {
		return s.client.Ask(child.Message{Type: child.Prepare, Client: &s.plan.Client}, child.Ready)
	})
	return err
}

// within bounds a conversation with a child, by closing it.
func within(d time.Duration, p *child.Process, talk func() (child.Message, error)) (child.Message, error) {
	timer := time.AfterFunc(d, p.Close)
	m, err := talk()
	if !timer.Stop() && err != nil {
		err = fmt.Errorf("no answer within %v: %w", d, err)
	}
	return m, err
}

// greet asks every foreign target of a script whether it is a tcpbench server, and whether it
// takes the script. A target that cannot be reached is left to the run, which counts it.
func (s *stage) greet(ctx context.Context) error {
	if !s.plan.Scripted || s.server != nil {
		return nil
	}
	request := len(s.plan.Client.Lifecycle.Request) - wire.HeaderSize // the limit is one of payload
	response := s.plan.Client.Lifecycle.Response.Bytes
	for _, target := range s.plan.Client.Targets {
		limits, err := loadgen.Hello(ctx, target, s.plan.Client.Timeout)
		switch {
		case errors.Is(err, loadgen.ErrForeign):
			return fmt.Errorf("%s: %w (%w): say what to send with --payload and when the answer is whole with --until, or use --connect-only",
				target, ErrNotTCPBench, err)
		case err != nil:
			continue
		case int64(request) > int64(limits.RequestSize):
			return fmt.Errorf("%s accepts requests of up to %d bytes, this one has %d: make --request-size smaller", target, limits.RequestSize, request)
		case response > int64(limits.ResponseSize):
			return fmt.Errorf("%s sends responses of up to %d bytes, not %d: make --response-size smaller", target, limits.ResponseSize, response)
		}
	}
	return nil
}

// drive starts the client and listens to it until it is done.
func (s *stage) drive(ctx context.Context) (metrics.ClientReport, error) {
	var err error
	if s.before, err = kernel.ReadCounters(); err != nil {
		return metrics.ClientReport{}, err
	}
	if err := s.client.Send(child.Message{Type: child.Start}); err != nil {
		return metrics.ClientReport{}, err
	}
	// The client itself bounds how long it takes to stop.
	release := context.AfterFunc(ctx, func() { _ = s.client.Send(child.Message{Type: child.Stop}) })
	defer release()
	for {
		m, err := s.client.Receive()
		if err != nil {
			return metrics.ClientReport{}, err
		}
		switch m.Type {
		case child.Phase:
			s.enter(m.Phase)
		case child.Interval:
			row, err := metrics.MergeIntervals([]metrics.Interval{*m.Interval})
			if err != nil {
				return metrics.ClientReport{}, err
			}
			s.rows = append(s.rows, row)
			if s.obs.Row != nil {
				s.obs.Row(row)
			}
		case child.Done:
			return *m.Report, nil
		default:
			return metrics.ClientReport{}, fmt.Errorf("client said %q in the middle of a run", m.Type)
		}
	}
}

// enter notes what has been used when the measured time begins and ends.
func (s *stage) enter(p loadgen.Phase) {
	switch p {
	case loadgen.Measuring:
		s.from = s.mark()
	case loadgen.Draining:
		s.to = s.mark()
	}
	if s.obs.Phase != nil {
		s.obs.Phase(p)
	}
}

func (s *stage) mark() mark {
	cpu, err := kernel.Stat()
	if err != nil {
		cpu = kernel.CPUTimes{} // shares of two such are zero: not known
	}
	return mark{server: s.sample(), cpu: cpu}
}

// sample asks the server what it has counted, and gives nil if it is ours no more.
func (s *stage) sample() *child.Usage {
	if s.server == nil || s.serverLost != nil {
		return nil
	}
	m, err := within(samplePatience, s.server, func() (child.Message, error) {
		return s.server.Ask(child.Message{Type: child.Sample}, child.Sampled)
	})
	if err != nil {
		s.serverLost = err
		return nil
	}
	return m.Usage
}

// settle waits until the server has accepted and closed what the client has opened and
// closed: the last connections are still on their way through its queue when the client
// is done.
func (s *stage) settle(report *metrics.ClientReport) *metrics.ServerReport {
	for deadline := time.Now().Add(settlePatience); ; time.Sleep(5 * time.Millisecond) {
		u := s.sample()
		if u == nil {
			return nil
		}
		settled := u.Server.Accepted >= report.Established && u.Server.Open <= report.Open
		if settled || time.Now().After(deadline) {
			return u.Server
		}
	}
}
