package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"tcpbench/internal/draft"
	"tcpbench/internal/probe"
	"tcpbench/metrics"
	"tcpbench/metrics/report"
	"tcpbench/scenarios"
)

// runOptions are the flags of run that decide what is shown.
type runOptions struct {
	out       string
	format    string
	json      bool
	quiet     bool
	explain   bool
	realistic bool
	expect    []string
	pcap      string
	in        *labOptions // nil for a run on the host itself
	where     place       // of a claim that can be shown without a lab
}

func newRun(line []string) *cobra.Command {
	var o *runOptions // of the verb itself
	all := false
	c := aboutScenarios(&cobra.Command{
		Use:   "run SCENARIO|FILE.yaml",
		Short: "Run a scenario and report what became of every connection",
		Long: `Run a scenario against a server and report what became of every connection.

A scenario is one of those that come with the program (tcpbench list) or a file of your own
(docs/scenario-files.md; tcpbench show prints one to start from, - is stdin).

What you write wins over what the scenario presets: a preset that contradicts one of your
flags gives way, and the run says which did. Only two of your own flags can contradict each
other.

Without --target the run starts a tcpbench server of its own on a free loopback port,
as a child process whose CPU time is accounted apart. With --target it loads that: a
tcpbench server as it is, any other server with --payload and --until, or --connect-only
(docs/any-server.md).

The result goes to stdout, as text or with --format json as a document (docs/result.md);
progress and warnings go to stderr. Ctrl-C ends the run in order and keeps what was
measured; a second one ends it at once.`,
		Example: `  tcpbench run short
  tcpbench run long --connections 10000 --heartbeat 5s --hold 30s
  tcpbench run syn-burst --burst 5000 --every 5s --backlog 128
  tcpbench run short --expect 'connect.p99 < 5ms' --expect 'failed == 0'
  tcpbench run release-gate.yaml --target server.example:9000
  tcpbench run time-wait-exhaustion
  tcpbench run four-way-close --explain
  tcpbench run --all`,
	}, line, "or name a file, or: run --all", func(c *cobra.Command, s *scenarios.Scenario) func(*scenarios.Scenario) error {
		own := newRunOptions(c, s, nil)
		o = cmp.Or(o, own)
		return func(s *scenarios.Scenario) error { return own.execute(c, s) }
	})
	c.Flags().BoolVar(&all, "all", false, "show every phenomenon of tcpbench list, one after the other")
	checkArgs := c.Args
	c.Args = func(c *cobra.Command, args []string) error {
		switch {
		case !all:
			return checkArgs(c, args)
		case len(args) > 0:
			return usage("--all and %s: give one of them", args[0])
		}
		return nil
	}
	runOne := c.RunE
	c.RunE = func(c *cobra.Command, args []string) error {
		if all {
			return o.executeAll(c)
		}
		return runOne(c, args)
	}
	return c
}

// newRunOptions makes the flags of a run, with what the scenario sets as defaults. in has the flags
// of its lab; nil is a run on the host itself.
func newRunOptions(c *cobra.Command, s *scenarios.Scenario, in *labOptions) *runOptions {
	o := &runOptions{in: in, where: anywhere}
	f := c.Flags()
	f.SortFlags = false
	s.Preset(f)
	if !s.Experiment() {
		f.StringArrayVar(&o.expect, "expect", nil, "an `EXPRESSION` over the result that is to hold, as in 'connect.p99 < 5ms'; may be given again")
	}
	if in == nil {
		o.where.register(c, s, f)
	}
	f.BoolVar(&o.explain, "explain", false, "say what would be done, step by step, and do nothing")
	f.BoolVar(&o.realistic, "realistic", false, "real parameters in place of those that save time; --explain says which these are")
	f.StringVar(&o.pcap, "pcap", "", "write the packets of the lab to `FILE`, for Wireshark or tcpdump")
	f.StringVar(&o.out, "out", "", "save the result document to `FILE`")
	formatFlag(c, &o.format, report.Results)
	f.BoolVar(&o.json, "json", false, "the same as --format json")
	f.BoolVar(&o.quiet, "quiet", false, "no progress; with --out no summary either")
	return o
}

// execute runs the scenario as the flags change it and shows its result.
func (o *runOptions) execute(c *cobra.Command, s *scenarios.Scenario) error {
	if err := o.check(c); err != nil {
		return err
	}
	r, err := o.prepare(c, s)
	if err != nil {
		return err
	}
	if out := scenarios.Gone(r.plans); len(out) > 0 && !o.quiet && !probe.Owned() { // else the first process has said it
		fmt.Fprintf(c.ErrOrStderr(), "What you wrote takes the place of %s of %s.\n", strings.Join(out, " "), s.Name)
	}
	if o.explain {
		text, err := scenarios.Explain(c.Context(), s, r.plans, r.options.Overrides)
		if err != nil {
			return exit{exitUsage, err}
		}
		_, err = io.WriteString(c.OutOrStdout(), text)
		return err
	}
	out, err := draft.Open(o.out, os.Stdout, os.Stderr)
	if err != nil {
		return usage("--out %s: %w: name a file in a directory that can be written", o.out, err)
	}
	if r.in != nil {
		if err, done := inOwnUsers(c, s, r.in.requires(s)); done {
			return err
		}
	} else if flag, lift, why := scenarios.Missing(r.plans); flag != "" {
		return cannot("run with "+flag, why, lift)
	}
	packets, err := o.record(r)
	if err != nil {
		return err
	}
	var lastly func()
	if r.in != nil {
		lastly = r.in.machine.lastly(c)
	}
	ctx, release := underSignals(lastly) // from here on this machine may be changed
	defer release()
	view := newProgress(c.ErrOrStderr(), o.quiet)
	result, err := r.run(ctx, view)
	view.end()
	err = errors.Join(err, packets.finish(told(c, o.quiet), result != nil))
	if result == nil {
		return err
	}
	var saved error
	if result.Attempted > 0 || result.Experiment != nil { // an earlier result is worth more than a document about nothing
		saved = out.Save(result.Write)
	}
	if saved != nil {
		saved = fmt.Errorf("--out %s: %w", o.out, saved)
		o.quiet = false // the result may have taken an hour: it is shown at least
	}
	if err := errors.Join(err, saved, o.show(c, result)); err != nil {
		return exit{exitFailed, err}
	}
	return verdict(ctx, result)
}

// told returns where remarks go; nil with --quiet.
func told(c *cobra.Command, quiet bool) io.Writer {
	if quiet {
		return nil
	}
	return c.ErrOrStderr()
}

// check finds flags that contradict each other.
func (o *runOptions) check(c *cobra.Command) error {
	if c.Flags().Changed("out") && o.out == "" {
		return usage("--out is empty: give it a value, or leave it out")
	}
	if c.Flags().Changed("pcap") && o.pcap == "" {
		return usage("--pcap is empty: give it a value, or leave it out")
	}
	if o.json && c.Flags().Changed("format") && o.format != "json" {
		return usage("--json and --format %s: give one of them", o.format)
	}
	if o.json {
		o.format = "json"
	}
	return nil
}

// show writes the result to stdout.
func (o *runOptions) show(c *cobra.Command, r *metrics.Result) error {
	if o.quiet && o.out != "" && o.format == report.Results[0].Name {
		return nil
	}
	return show(c, report.Results, o.format, r)
}

// verdict chooses the exit code of a run that gave a result.
func verdict(ctx context.Context, r *metrics.Result) error {
	if err := interrupted(ctx); err != nil {
		return err
	}
	switch {
	case r.Succeeded == 0 && !r.Expects() && r.Verdict == nil: // expected failures are declared in the scenario
		return exit{exitNothing, nil}
	case r.Flagged("invalid"), r.Flagged("server-lost"):
		return exit{exitFailed, nil}
	case r.Verdict != nil && r.Verdict.Outcome == metrics.NotReproduced:
		return exit{exitNotReproduced, nil}
	case r.Verdict != nil && r.Verdict.Outcome == metrics.Undecided:
		return exit{exitUndecided, nil}
	case !r.Met():
		return exit{exitUnmet, nil}
	}
	return nil
}
