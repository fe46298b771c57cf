package stage

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
	"tcpbench/loadgen/sockets"
	"tcpbench/metrics"
)

// preflight makes one connection with one exchange to each target, from the first address
// from which the load will come. It is the load in small: the same options, hello and end
// of the answer. So a wrong payload costs one connection, and not a run.
func (s *stage) preflight(ctx context.Context) error {
	if !s.plan.Preflight {
		return nil
	}
	for _, target := range s.plan.Client.Targets {
		report, err := sockets.Engine{}.Run(ctx, s.plan.single(target), loadgen.Observer{})
		switch {
		case ctx.Err() != nil:
			return nil // the run ends as one that was interrupted
		case err != nil:
			return err
		case report.Succeeded == 0:
			return fmt.Errorf("preflight: %w", refusal(target, &s.plan.Client, &report))
		}
	}
	return nil
}

// single is the load of the plan, cut down to one connection and one exchange.
func (p *Plan) single(target netip.AddrPort) loadgen.Config {
	c := p.Client
	life := c.Lifecycle
	life.Exchanges, life.Gap, life.Stay, life.StayToEnd, life.Beat = 1, 0, 0, false, nil
	sources := c.Sources
	if sources == nil {
		sources = p.sources(c.Targets)
	}
	return loadgen.Config{
		Targets: []netip.AddrPort{target}, Sources: sources,
		Process: pace.Closed, Connections: 1, Count: 1, Loops: 1, Seed: c.Seed,
		Lifecycle: life, Options: c.Options, Timeout: c.Timeout, OnExhausted: loadgen.CountExhausted,
	}
}

// refusal says why a load would have no answer, and what to do.
func refusal(target netip.AddrPort, c *loadgen.Config, report *metrics.ClientReport) error {
	name := "it did not end" // unless it has failed
	for failure := range report.Failed {
		name = failure
	}
	stage, outcome, _ := strings.Cut(name, ".")
	switch stage {
	case metrics.StageSocket.String():
		return fmt.Errorf("no socket towards %s could be made (%s): is each of --sources an address of this host, and allowed?", target, name)
	case metrics.StageConnect.String():
		if outcome == metrics.Refused.String() {
			return fmt.Errorf("nobody listens on %s (%s): start the server, or count its refusals with --no-preflight", target, name)
		}
		return fmt.Errorf("%s cannot be reached (%s): look for a route and for a packet filter, or load it all the same with --no-preflight", target, name)
	}
	asked, wanted, until := "--payload", &c.Lifecycle.Response, "--until"
	if stage == metrics.StageHello.String() {
		asked, wanted, until = "--hello", &c.Lifecycle.Hello.Response, "--hello-until"
	}
	said := "said nothing"
	if report.Said != nil && len(report.Said.Texts) > 0 {
		said = `said "` + beginning(report.Said.Texts[0].Text) + `"`
	}
	switch outcome {
	case metrics.ClosedEarly.String():
		said += " and closed"
	case metrics.Reset.String():
		said += " and reset the connection"
	case metrics.TimedOut.String():
		said += fmt.Sprintf(", and no more within %v", c.Timeout)
	}
	remedy := fmt.Sprintf("change %s or %s", asked, until)
	if len(c.Sources) > 0 && target.Addr().Unmap().IsLoopback() {
		remedy += ", or leave --sources out, for some servers refuse whoever does not come from 127.0.0.1"
	}
	return fmt.Errorf("%s %s (%s), which is not what %s '%s' waits for: %s; --no-preflight loads it all the same",
		target, said, name, until, wanted, remedy)
}

// beginning is as much of an answer as an error can hold.
func beginning(text string) string {
	const most = 120
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}
