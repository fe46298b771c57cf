package main

import (
	"context"
	"errors"
	"os"

	"github.com/spf13/cobra"

	"tcpbench/internal/lab"
	"tcpbench/metrics"
	"tcpbench/metrics/report"
	"tcpbench/scenarios"
	"tcpbench/scenarios/workload"
)

// executeAll shows every phenomenon, one after the other: a line for each, and a summary with the
// details of those that were not reproduced.
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
	ctx, release := underSignals(nil)
	defer release()
	view := newProgress(c.ErrOrStderr(), o.quiet)
	view.warnings = nil // the warnings describe the phenomenon itself
	out := c.OutOrStdout()
	options := scenarios.Options{Tool: tool(), Command: os.Args}
	sum, err := m.ShowAll(ctx, options, view.observer(), view.round, func(one *metrics.ShownScenario) error {
		if o.format != report.Sums[0].Name {
			return nil
		}
		view.clear()
		return report.Line(out, one, styleOf(out))
	})
	view.end()
	if err := errors.Join(err, show(c, report.Sums, o.format, sum)); err != nil {
		return exit{exitFailed, err}
	}
	return verdictOfAll(ctx, sum)
}

// verdictOfAll chooses the exit code: a refuted claim counts more than one that could not be judged.
func verdictOfAll(ctx context.Context, sum *metrics.Shown) error {
	if err := interrupted(ctx); err != nil {
		return err
	}
	switch {
	case sum.Counts[metrics.NotReproduced] > 0:
		return exit{exitNotReproduced, nil}
	case sum.Counts[metrics.Undecided] > 0:
		return exit{exitUndecided, nil}
	case sum.Counts[metrics.CannotRun] > 0:
		return exit{exitCannot, nil}
	}
	return nil
}
