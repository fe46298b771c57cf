package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"tcpbench/internal/draft"
	"tcpbench/internal/values"
	"tcpbench/metrics"
	"tcpbench/metrics/compare"
	"tcpbench/metrics/report"
	"tcpbench/scenarios"
	"tcpbench/scenarios/workload"
)

// compareOptions are the flags of compare.
type compareOptions struct {
	profiles, clients, servers []string
	set                        []string
	vary                       string
	ablate, strict             bool
	rounds                     int
	order                      uint64
	save                       string
	format                     string
	quiet                      bool
	link                       linkOptions
	machine                    machineOptions
}

// mostRounds is more than anybody waits for: an hour or more.
const mostRounds = 1000

// quickRun is how long a run of the scenario short is in a comparison unless a flag says
// otherwise: many short rounds tell more than a few long ones, because a machine drifts.
const quickRun = "3s"

func newCompare(line []string) *cobra.Command {
	return aboutScenarios(&cobra.Command{
		Use:   "compare SCENARIO|FILE.yaml",
		Short: "Run a scenario under several profiles of kernel settings, and tell what differs",
		Long: `Run a scenario under each of several profiles of kernel settings, in rounds: each run in a new
lab (tcpbench lab --help), in random order within a round, with the same arrivals. Then
print the median of every number, the ratio to the first profile with its interval, how far
a profile differs from itself, and whether chance alone would show the difference. The host
is not touched.

A run of ` + scenarios.Short + ` is ` + quickRun + ` long, and one of another scenario as long as tcpbench show says,
unless --duration, --count or --hold says otherwise.`,
		Example: `  tcpbench compare short --profile kernel-default --profile folklore
  tcpbench compare short --vary net.ipv4.tcp_timestamps=0,1 --rounds 20
  tcpbench compare short --profile /etc/sysctl.d/99-mine.conf --ablate
  tcpbench compare short --server-profile a.conf --server-profile b.conf --save results
  tcpbench compare syn-burst --burst 3000 --vary net.core.somaxconn=128,1024,4096`,
	}, line, "or name a file", func(c *cobra.Command, s *scenarios.Scenario) func(*scenarios.Scenario) error {
		if s.Experiment() || s.OwnLabs() {
			return nil
		}
		o := &compareOptions{}
		o.register(c, s)
		return func(s *scenarios.Scenario) error { return o.execute(c, s) }
	})
}

func (o *compareOptions) register(c *cobra.Command, s *scenarios.Scenario) {
	f := c.Flags()
	f.SortFlags = false
	f.StringArrayVar(&o.profiles, "profile", nil, "kernel settings of both hosts: a `PROFILE` of tcpbench profiles, or a file of sysctl.d; once for each side")
	f.StringArrayVar(&o.clients, "client-profile", nil, "the client's `PROFILE` of each side, if another")
	f.StringArrayVar(&o.servers, "server-profile", nil, "the server's `PROFILE` of each side, if another")
	f.StringArrayVar(&o.set, "set", nil, "`KEY=VALUE` on top of all profiles; may be given again")
	f.StringVar(&o.vary, "vary", "", "`KEY=V1,V2,…`: one setting in several values, in place of several profiles")
	f.BoolVar(&o.ablate, "ablate", false, "compare a profile with itself, without each of its lines in turn")
	f.BoolVar(&o.strict, "strict", false, "refuse to run if a setting is not as its profile says")
	o.link.register(f)
	o.machine.register(f)
	usual, _ := compare.Rounds(2)
	f.Var(values.Whole(&o.rounds, 1, mostRounds), "rounds", fmt.Sprintf("how often to run each side (default %d, and more for more than two sides)", usual))
	f.Var(values.Seed(&o.order), "order", "seed of the order of runs (default a new one, printed)")
	f.StringVar(&o.save, "save", "", "keep all results in the directory `DIR`, for tcpbench diff")
	s.Preset(f)
	formatFlag(c, &o.format, report.Comparisons)
	f.BoolVar(&o.quiet, "quiet", false, "no progress")
	completeProfiles(c)
}

// execute makes the comparison and prints its table.
func (o *compareOptions) execute(c *cobra.Command, s *scenarios.Scenario) error {
	if s.Experiment() || s.OwnLabs() {
		return usage("compare: %s makes its own comparison, or none: tcpbench run %s shows it", s.Name, s.Name)
	}
	arms, err := o.arms()
	if err != nil {
		return err
	}
	o.plan(c, len(arms))
	comparison := &scenarios.Comparison{
		Scenario: s, Options: scenarios.Options{Overrides: overrides(c, s), Tool: tool(), Command: os.Args},
		Arms: arms, Rounds: o.rounds, Strict: o.strict,
	}
	if _, err := scenarios.Plan(c.Context(), s, scenarios.Where{Lab: &scenarios.Lab{}}, comparison.Options.Overrides); err != nil {
		return exit{exitUsage, err}
	}
	if err, done := inOwnUsers(c, s, (&labOptions{link: o.link}).requires(s)); done {
		return err
	}
	if err := o.machine.ask(c, comparison); err != nil {
		return err
	}
	if !c.Flags().Changed("order") {
		o.order = rand.Uint64()
	}
	ctx, release := underSignals(o.machine.lastly(c))
	defer release()
	view := newProgress(c.ErrOrStderr(), o.quiet)
	view.warnings = nil // the comparison measures what each forecast predicts
	comparison.Seed = o.order
	comparison.Progress = func(round int, a *scenarios.Arm) {
		view.round(fmt.Sprintf("round %d of %d, %s", round+1, o.rounds, a.Name))
	}
	if o.save != "" {
		if err := os.MkdirAll(o.save, 0o755); err != nil {
			return usage("--save %s: %w: name a directory that can be written", o.save, draft.Cause(err))
		}
		comparison.Save = o.keep
	}
	sides, err := comparison.Run(ctx, view.observer())
	view.end()
	var strict scenarios.StrictError
	switch {
	case errors.As(err, &strict):
		return exit{exitFailed, err}
	case err != nil:
		return failure(err)
	}
	if len(sides[0].Results) > 0 {
		if !o.quiet {
			fmt.Fprintf(c.ErrOrStderr(), "%d rounds, --order %d\n", len(sides[0].Results), o.order)
		}
		if err := show(c, report.Comparisons, o.format, sides); err != nil {
			return exit{exitFailed, err}
		}
	}
	return interrupted(ctx)
}

// overrides are the flags of the command line, and how long a run is if they do not say so.
func overrides(c *cobra.Command, s *scenarios.Scenario) []workload.Setting {
	over := workload.Overrides(c.Flags())
	if s.Name == scenarios.Short && !c.Flags().Changed("duration") && !c.Flags().Changed("count") && !c.Flags().Changed("hold") {
		over = append(over, workload.Setting{Name: "duration", Value: quickRun})
	}
	return over
}

// plan chooses how many rounds to run, or says that those asked for cannot show anything.
func (o *compareOptions) plan(c *cobra.Command, sides int) {
	usual, fewest := compare.Rounds(sides)
	switch {
	case o.rounds == 0:
		o.rounds = usual
	case o.rounds < fewest && !o.quiet:
		fmt.Fprintf(c.ErrOrStderr(), "--rounds %d: too few to show any difference between %d sides, however large: it takes about %d\n", o.rounds, sides, fewest)
	}
}

// ask makes sure that this machine may be changed as the comparison wants it.
func (o *machineOptions) ask(c *cobra.Command, of *scenarios.Comparison) error {
	if err := o.rooted(); err != nil || !o.onHost {
		return err
	}
	keys, err := of.OfMachine()
	if err != nil {
		return failure(err)
	}
	of.Machine = o.machine(c)
	return o.allowed(c, keys)
}

// keep writes a result into the directory of --save.
func (o *compareOptions) keep(round int, a *scenarios.Arm, r *metrics.Result) error {
	name := fmt.Sprintf("%s.%03d.json", fileName(a.Name), round+1)
	out, err := draft.Open(filepath.Join(o.save, name), os.Stdout, os.Stderr)
	if err == nil {
		err = out.Save(r.Write)
	}
	if err != nil {
		return fmt.Errorf("--save: %s: %w", name, err)
	}
	return nil
}

// fileName turns any name into one of a file.
func fileName(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-_=.", r) {
			return r
		}
		return '_'
	}, name)
}
