package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"tcpbench/internal/lab"
	"tcpbench/internal/values"
	"tcpbench/metrics"
	"tcpbench/metrics/compare"
	"tcpbench/metrics/report"
	"tcpbench/scenarios"
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

// Names of arms stand in a heading by letters.
const mostArms = 26

// quickRun is how long a run of a comparison is where nobody says: many short rounds tell
// more than a few long ones, for a machine drifts.
const quickRun = "3s"

func newCompare() *cobra.Command {
	c := &cobra.Command{
		Use:     "compare SCENARIO|FILE.yaml",
		Short:   "Run a scenario under several profiles of kernel settings, and tell what differs",
		GroupID: "main",
		Long: `Run a scenario under each of several profiles of kernel settings, in rounds: each run in a new
lab (tcpbench lab --help), in random order within a round, with the same arrivals. Then
print the median of every number with its confidence interval, the difference to the first
profile, and whether chance alone would show it. The host is not touched.

A run is ` + quickRun + ` long unless --duration, --count or --hold says otherwise.`,
		Example: `  tcpbench compare short --profile kernel-default --profile folklore
  tcpbench compare short --vary net.ipv4.tcp_timestamps=0,1 --rounds 20
  tcpbench compare short --profile /etc/sysctl.d/99-mine.conf --ablate
  tcpbench compare short --server-profile a.conf --server-profile b.conf --save results
  tcpbench compare syn-burst --burst 3000 --vary net.core.somaxconn=128,1024,4096`,
		Args:              oneScenario("compare", "or name a file"),
		ValidArgsFunction: completeScenario,
	}
	o := &compareOptions{}
	o.register(c, scenarios.Blank())
	c.RunE = func(c *cobra.Command, args []string) error {
		s, err := loadScenario(c, args[0])
		if err != nil {
			return err
		}
		return o.execute(c, s)
	}
	for _, s := range scenarios.Builtins() {
		if s.Experiment() || s.OwnLabs() {
			continue
		}
		o := &compareOptions{}
		sub := &cobra.Command{
			Use:   s.Name,
			Short: s.Summary,
			Long:  "Compare profiles by the scenario " + s.Name + ": " + s.Summary + ".\n\nSee tcpbench compare --help.",
			Args:  cobra.NoArgs,
			RunE:  func(c *cobra.Command, _ []string) error { return o.execute(c, s) },
		}
		o.register(sub, s)
		c.AddCommand(sub)
	}
	return c
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
	f.BoolVar(&o.strict, "strict", false, "no run if a setting cannot be as its profile says")
	o.link.register(f)
	o.machine.register(f)
	f.IntVar(&o.rounds, "rounds", 10, "how often to run each side")
	f.Uint64Var(&o.order, "order", 0, "seed of the order of runs (default a new one, printed)")
	f.StringVar(&o.save, "save", "", "keep all results in the directory `DIR`, for tcpbench diff")
	s.Preset(f)
	f.Var(values.New(&o.format, "text", "text|json|bench", parseTableFormat), "format", "what to print on stdout; bench is for benchstat")
	f.BoolVar(&o.quiet, "quiet", false, "no progress")
	for flag, list := range map[string][]string{"format": {"text", "json", "bench"}, "profile": lab.Profiles(), "client-profile": lab.Profiles(), "server-profile": lab.Profiles()} {
		_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(list, cobra.ShellCompDirectiveDefault))
	}
	for flag, list := range scenarios.Words() {
		_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(list, cobra.ShellCompDirectiveNoFileComp))
	}
}

func parseTableFormat(text string) (string, error) {
	if text != "text" && text != "json" && text != "bench" {
		return "", errors.New("want text, json or bench")
	}
	return text, nil
}

// execute makes the comparison and prints its table.
func (o *compareOptions) execute(c *cobra.Command, s *scenarios.Scenario) error {
	if o.rounds < 1 || o.rounds > 10_000 {
		return usage("--rounds %d: want 1 to 10000", o.rounds)
	}
	if s.Experiment() || s.OwnLabs() {
		return usage("compare: %s makes its own comparison, or none: tcpbench run %s shows it", s.Name, s.Name)
	}
	arms, err := o.arms()
	if err != nil {
		return err
	}
	over := scenarios.Overrides(c.Flags())
	if !c.Flags().Changed("duration") && !c.Flags().Changed("count") && !c.Flags().Changed("hold") && s.Name == scenarios.Short {
		over = append(over, scenarios.Override{Name: "duration", Value: quickRun})
	}
	stages, err := s.Stages(c.Context(), over)
	if err != nil {
		return exit{exitUsage, err}
	}
	for _, stage := range stages {
		if stage.Plan.Server == nil {
			return usage("--target: in a lab there is nobody but the run's own server: leave it out")
		}
	}
	if err, done := inOwnUsers(c, s); done {
		return err
	}
	if err := o.machine.ask(c, arms); err != nil {
		return err
	}
	if !c.Flags().Changed("order") {
		o.order = rand.Uint64()
	}
	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	defer onSignals(stop)()
	view := newProgress(c.ErrOrStderr(), o.quiet)
	view.warnings = nil // what each profile lets expect is what is to be found out
	comparison := scenarios.Comparison{
		Scenario: s, Overrides: over, Arms: arms, Rounds: o.rounds, Seed: o.order, Strict: o.strict,
		Prepare: func(p *scenarios.Plan) { p.Tool, p.Command = tool(), os.Args },
		Progress: func(round int, a *scenarios.Arm) {
			view.round(fmt.Sprintf("round %d of %d, %s", round+1, o.rounds, a.Name))
		},
	}
	if o.machine.onHost {
		comparison.Machine = lab.ThisMachine()
	}
	if o.save != "" {
		if err := os.MkdirAll(o.save, 0o755); err != nil {
			return usage("--save %s: %w: name a directory that can be written", o.save, cause(err))
		}
		comparison.Save = o.keep
	}
	sides, err := comparison.Run(ctx, view.observer())
	view.end()
	if err != nil {
		return exit{exitFailed, err}
	}
	var caught signalled
	interrupted := asSignalled(ctx, &caught)
	if len(sides[0].Results) > 0 {
		if !o.quiet {
			fmt.Fprintf(c.ErrOrStderr(), "%d rounds, --order %d\n", len(sides[0].Results), o.order)
		}
		if err := writeTable(c, sides, o.format); err != nil {
			return exit{exitFailed, err}
		}
	}
	if interrupted {
		return exit{caught.code(), nil}
	}
	return nil
}

// ask makes sure that this machine may be changed as the arms want it.
func (o *machineOptions) ask(c *cobra.Command, arms []scenarios.Arm) error {
	if err := o.rooted(); err != nil || !o.onHost {
		return err
	}
	var keys []string
	for _, a := range arms {
		v, err := scenarios.NewVenue(a.Link, a.Client, a.Server)
		if err != nil {
			return exit{exitFailed, err}
		}
		keys = append(keys, v.OfMachine()...)
		if err := v.Close(); err != nil {
			return exit{exitFailed, err}
		}
	}
	slices.Sort(keys)
	return o.allowed(c, slices.Compact(keys))
}

// arms are the sides of the comparison.
func (o *compareOptions) arms() ([]scenarios.Arm, error) {
	var arms []scenarios.Arm
	var err error
	switch {
	case o.vary != "" && o.ablate:
		return nil, usage("--vary and --ablate: give one of them")
	case o.vary != "":
		arms, err = o.varied()
	default:
		arms, err = o.named()
		if err == nil && o.ablate {
			arms, err = ablated(arms)
		}
	}
	named := map[string]int{}
	for i := range arms {
		arms[i].Link = o.link.both()
		// A profile may be compared with itself; what is saved must not be overwritten.
		named[arms[i].Name]++
		if n := named[arms[i].Name]; n > 1 {
			arms[i].Name = fmt.Sprintf("%s (%d)", arms[i].Name, n)
		}
	}
	switch {
	case err != nil:
		return nil, err
	case len(arms) < 2:
		return nil, usage("compare: with what? Give two --profile, or --vary KEY=V1,V2, or --ablate; tcpbench profiles lists those that come with the program")
	case len(arms) > mostArms:
		return nil, usage("compare: %d sides are too many: at most %d", len(arms), mostArms)
	}
	return arms, nil
}

// named are the arms of profiles.
func (o *compareOptions) named() ([]scenarios.Arm, error) {
	n := max(len(o.profiles), len(o.clients), len(o.servers))
	pick := func(flag string, list []string, i int) (*lab.Profile, string, error) {
		name := lab.KernelDefault
		switch {
		case len(list) > 1 && len(list) != n:
			return nil, "", usage("--%s: %d of them for %d sides: give one for each, or one for all", flag, len(list), n)
		case len(list) == 1:
			name = list[0]
		case i < len(list):
			name = list[i]
		}
		p, err := lab.Load(name)
		if err != nil {
			return nil, "", usage("--%s: %w", flag, err)
		}
		return p, name, setOn(p, o.set)
	}
	var arms []scenarios.Arm
	for i := range n {
		client, server := o.clients, o.servers
		clientFlag, serverFlag := "client-profile", "server-profile"
		if len(client) == 0 {
			client, clientFlag = o.profiles, "profile"
		}
		if len(server) == 0 {
			server, serverFlag = o.profiles, "profile"
		}
		cp, clientName, err := pick(clientFlag, client, i)
		if err != nil {
			return nil, err
		}
		sp, serverName, err := pick(serverFlag, server, i)
		if err != nil {
			return nil, err
		}
		name := clientName
		if clientName != serverName {
			name = "client " + clientName + ", server " + serverName
		}
		arms = append(arms, scenarios.Arm{Name: name, Client: cp, Server: sp})
	}
	return arms, nil
}

// varied are the arms of one setting in several values.
func (o *compareOptions) varied() ([]scenarios.Arm, error) {
	if max(len(o.profiles), len(o.clients), len(o.servers)) > 1 {
		return nil, usage("--vary takes one profile to start from")
	}
	key, list, ok := strings.Cut(o.vary, "=")
	if !ok || !strings.Contains(list, ",") {
		return nil, usage("--vary %q: want KEY=V1,V2,…, as in net.ipv4.tcp_timestamps=0,1", o.vary)
	}
	base := o.profiles
	if len(base) == 0 && len(o.clients) == 0 && len(o.servers) == 0 {
		base = []string{lab.KernelDefault}
	}
	var arms []scenarios.Arm
	for value := range strings.SplitSeq(list, ",") {
		start := *o
		start.profiles = base
		made, err := start.named()
		if err != nil {
			return nil, err
		}
		setting, err := lab.ParseSetting(key + "=" + value)
		if err != nil {
			return nil, usage("--vary %q: %w", o.vary, err)
		}
		if near := lab.NearKey(setting.Key); near != "" {
			return nil, usage("--vary %q: this kernel has no %s: did you mean %s?", o.vary, setting.Key, near)
		}
		arm := made[0]
		arm.Client.Set(setting)
		arm.Server.Set(setting)
		arm.Name = setting.Key + " = " + setting.Value
		arms = append(arms, arm)
	}
	return arms, nil
}

// ablated are a profile, and the profile without each of its lines.
func ablated(arms []scenarios.Arm) ([]scenarios.Arm, error) {
	if len(arms) != 1 {
		return nil, usage("--ablate takes one profile apart: give one --profile")
	}
	whole := arms[0]
	seen := map[string]bool{}
	for _, p := range []*lab.Profile{whole.Client, whole.Server} {
		for _, s := range p.Settings {
			if seen[s.Key] {
				continue
			}
			seen[s.Key] = true
			arms = append(arms, scenarios.Arm{Name: "without " + s.Key, Client: whole.Client.Without(s.Key), Server: whole.Server.Without(s.Key)})
		}
	}
	return arms, nil
}

// keep writes a result into the directory of --save.
func (o *compareOptions) keep(round int, a *scenarios.Arm, r *metrics.Result) error {
	name := fmt.Sprintf("%s.%03d.json", fileName(a.Name), round+1)
	out, err := openOutput(filepath.Join(o.save, name))
	if err == nil {
		err = out.commit(r)
	}
	if err != nil {
		return fmt.Errorf("--save: %s: %w", name, err)
	}
	return nil
}

// fileName makes a name of a file of any name.
func fileName(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("-_=.", r) {
			return r
		}
		return '_'
	}, name)
}

// writeTable prints a comparison in the format that was asked for.
func writeTable(c *cobra.Command, sides []compare.Side, format string) error {
	out := c.OutOrStdout()
	switch format {
	case "bench":
		return compare.Bench(out, sides)
	case "json":
		return writeJSON(out, struct {
			Differences []compare.Difference `json:"differences"`
			*compare.Table
		}{append([]compare.Difference{}, compare.Differences(sides)...), compare.Make(sides)})
	}
	return report.Table(out, compare.Make(sides), compare.Differences(sides), report.Style{Color: colored(out), Width: columns(out)})
}
