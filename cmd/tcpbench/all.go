package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"tcpbench/metrics"
	"tcpbench/metrics/report"
	"tcpbench/scenarios"
)

// executeAll shows every phenomenon, one after the other: a line for each, and at length those
// that were not seen.
func (o *runOptions) executeAll(c *cobra.Command) error {
	if err := o.check(c); err != nil {
		return err
	}
	switch {
	case len(scenarios.Overrides(c.Flags())) > 0 || len(o.expect) > 0:
		return usage("--all: each scenario has flags of its own: leave them out")
	case o.out != "" || o.pcap != "":
		return usage("--all makes many results: print them with --json, or run one scenario with --out or --pcap")
	case c.Flags().Changed("where"):
		return usage("--all: where each scenario is shown is decided for each: leave --where out")
	case o.explain || o.realistic:
		return usage("--all: --explain and --realistic are for one scenario")
	}
	if err, done := inOwnUsers(c, nil); done {
		return err
	}
	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	defer onSignals(stop, nil)()
	view := newProgress(c.ErrOrStderr(), o.quiet)
	view.warnings = nil // what they warn of is what is to be seen
	results, err := o.showAll(ctx, c, view)
	view.end()
	if o.format == "json" {
		err = errors.Join(err, writeJSON(c.OutOrStdout(), results))
	}
	if err != nil {
		return exit{exitFailed, err}
	}
	for _, r := range results {
		if err := verdict(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

func (o *runOptions) showAll(ctx context.Context, c *cobra.Command, view *progress) (results []*metrics.Result, err error) {
	results = []*metrics.Result{}
	style := report.Style{Color: colored(c.OutOrStdout()), Width: columns(c.OutOrStdout())}
	for _, s := range scenarios.Builtins() {
		if s.Phenomenon == nil {
			continue
		}
		if ctx.Err() != nil {
			break
		}
		view.round(s.Name)
		began := time.Now()
		r, err := (&runOptions{where: o.where}).prepare(c, s)
		if err != nil {
			return results, err
		}
		result, err := r.run(ctx, c, view)
		if result == nil || err != nil {
			return results, fmt.Errorf("%s: %w", s.Name, err)
		}
		results = append(results, result)
		if o.format == "json" {
			continue
		}
		view.clear()
		if err := report.Line(c.OutOrStdout(), result, time.Since(began), style); err != nil {
			return results, err
		}
	}
	return results, nil
}
