package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"tcpbench/internal/lab"
	"tcpbench/internal/probe"
	"tcpbench/metrics"
	"tcpbench/metrics/report"
	"tcpbench/scenarios"
	"tcpbench/scenarios/file"
	"tcpbench/scenarios/workload"
)

// executeAll shows every phenomenon, one after the other: a line for each, at length those that
// were not seen, and at the end a sum. A scenario that cannot be run does not stop the others.
func (o *runOptions) executeAll(c *cobra.Command) error {
	if err := o.check(c); err != nil {
		return err
	}
	switch {
	case len(workload.Overrides(c.Flags())) > 0 || len(o.expect) > 0:
		return usage("--all: each scenario has flags of its own: leave them out")
	case o.out != "" || o.pcap != "":
		return usage("--all makes many results: print them with --json, or run one scenario with --out or --pcap")
	case c.Flags().Changed("where"):
		return usage("--all: where each scenario is shown is decided for each: leave --where out")
	case o.explain || o.realistic:
		return usage("--all: --explain and --realistic are for one scenario")
	}
	m := scenarios.ThisMachine()
	if m.Means.Users && m.Refuses(lab.CanLab) == nil {
		if err, done := ownUsers(c, nil); done {
			return err
		}
	}
	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	defer onSignals(stop, nil)()
	view := newProgress(c.ErrOrStderr(), o.quiet)
	view.warnings = nil // the warnings describe the phenomenon itself
	sum, err := o.showAll(ctx, c, m, view)
	view.end()
	if err := errors.Join(err, show(c, report.Sums, o.format, sum)); err != nil {
		return exit{exitFailed, err}
	}
	return verdictOfAll(ctx, sum)
}

// verdictOfAll chooses the exit code: what was seen and should not be counts more than what
// could not be looked at.
func verdictOfAll(ctx context.Context, sum *metrics.Shown) error {
	var caught signalled
	switch {
	case asSignalled(ctx, &caught):
		return exit{caught.code(), nil}
	case sum.Counts[metrics.NotReproduced] > 0:
		return exit{exitNotReproduced, nil}
	case sum.Counts[metrics.Undecided] > 0:
		return exit{exitUndecided, nil}
	case sum.Counts[metrics.CannotRun] > 0:
		return exit{exitCannot, nil}
	}
	return nil
}

// showAll runs the catalogue. An error means that the output cannot be written.
func (o *runOptions) showAll(ctx context.Context, c *cobra.Command, m *scenarios.Machine, view *progress) (*metrics.Shown, error) {
	sum := metrics.NewShown()
	style := styleOf(c.OutOrStdout())
	for _, s := range scenarios.Builtins() {
		if s.Phenomenon == nil {
			continue
		}
		one := metrics.ShownScenario{Name: s.Name, Standing: metrics.NotBegun}
		if ctx.Err() == nil {
			view.round(s.Name)
			one = o.showOne(ctx, c, s, m, view)
		}
		sum.Add(one)
		if o.format != report.Sums[0].Name || one.Standing == metrics.NotBegun {
			continue
		}
		view.clear()
		if err := report.Line(c.OutOrStdout(), &one, style); err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// showOne runs a scenario, if this machine can.
func (o *runOptions) showOne(ctx context.Context, c *cobra.Command, s *scenarios.Scenario, m *scenarios.Machine, view *progress) metrics.ShownScenario {
	one := metrics.ShownScenario{Name: s.Name}
	if here, why := m.Here(s.Requires()); here == file.CannotRun {
		one.Standing, one.Why, one.Lift = metrics.CannotRun, why.Summary(), why.Lift
		return one
	}
	began := time.Now()
	r, err := (&runOptions{where: o.where}).prepare(c, s)
	if err == nil {
		one.Result, err = r.run(ctx, view)
	}
	one.TookS = time.Since(began).Seconds()
	refused, ok := probe.Explain(err)
	switch {
	case ok:
		one.Standing, one.Why, one.Lift = metrics.CannotRun, refused.Summary(), refused.Lift
	case err != nil && ctx.Err() != nil:
		one.Standing, one.Why = metrics.Undecided, "it was interrupted"
	case err != nil:
		one.Standing, one.Why = metrics.Undecided, err.Error()
	default:
		one.Standing, one.Why = metrics.StandingOf(one.Result)
	}
	return one
}
