package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tcpbench/internal/draft"
	"tcpbench/internal/values"
	"tcpbench/metrics/report"
	"tcpbench/scenarios"
	"tcpbench/scenarios/file"
)

// aboutScenarios makes a verb that is about a scenario: of a file, or one of the catalogue, for which
// it gets a command whose flags have the scenario's values as defaults. bind makes the flags of a
// command and returns what runs a scenario with them, or nil for a scenario that the verb is not
// for. Of the catalogue only what the command line needs is read: the scenarios that it names, or
// all for help and completion. An empty line stands for any.
func aboutScenarios(verb *cobra.Command, line []string, or string, bind func(c *cobra.Command, s *scenarios.Scenario) func(*scenarios.Scenario) error) *cobra.Command {
	name := verb.Name()
	run := bind(verb, scenarios.Blank())
	verb.GroupID, verb.ValidArgsFunction = "main", completeScenario
	verb.Args = func(_ *cobra.Command, args []string) error {
		switch len(args) {
		case 0:
			return usage("%s: which scenario? There are: %s; %s", name, strings.Join(scenarios.Names, ", "), or)
		case 1:
			return nil
		}
		return usage("%s: one scenario at a time, not %q as well", name, args[1])
	}
	verb.RunE = func(c *cobra.Command, args []string) error {
		s, err := loadScenario(c, args[0])
		if err != nil {
			return err
		}
		return run(s)
	}
	for _, s := range needed(name, line) {
		c := &cobra.Command{
			Use: s.Name, Short: s.Summary, Example: examplesOf(name, s),
			Long: fmt.Sprintf("tcpbench %s with the scenario %s: %s.\n\n%sSee tcpbench %s --help for what all scenarios have in common, and tcpbench show %s for its file.",
				name, s.Name, s.Summary, claimed(s), name, s.Name),
			Args: func(_ *cobra.Command, args []string) error {
				if len(args) > 0 {
					return usage("%s: one scenario at a time, not %q as well", name, args[0])
				}
				return nil
			},
		}
		if run := bind(c, s); run != nil {
			c.RunE = func(*cobra.Command, []string) error { return run(s) }
			verb.AddCommand(c)
		}
	}
	return verb
}

// needed are the scenarios of the catalogue that the line needs of a verb.
func needed(verb string, line []string) (some []*scenarios.Scenario) {
	asksFor := func(word string) bool { return slices.Contains(line, word) }
	all := len(line) == 0 || slices.Contains([]string{"help", "completion", cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd}, line[0])
	if !all && line[0] != verb {
		return nil
	}
	all = all || !slices.ContainsFunc(scenarios.Names, asksFor) && (asksFor("--help") || asksFor("-h"))
	for _, name := range scenarios.Names {
		if all || asksFor(name) {
			s, _ := scenarios.Find(name)
			some = append(some, s)
		}
	}
	return some
}

// findBuiltin returns a scenario of the catalogue, or says which may have been meant.
func findBuiltin(verb, name string) (*scenarios.Scenario, error) {
	if s, ok := scenarios.Find(name); ok {
		return s, nil
	}
	if slices.Contains(scenarios.Planned, name) {
		return nil, usage("%s: %s needs crafted packets, which tcpbench cannot make yet", verb, name)
	}
	if near := values.Nearest(name, scenarios.Names); near != "" {
		return nil, usage("%s: no scenario %q: did you mean %s?", verb, name, near)
	}
	return nil, usage("%s: no scenario %q; there are: %s", verb, name, strings.Join(scenarios.Names, ", "))
}

// loadScenario reads a scenario from the catalogue, a file, or stdin.
func loadScenario(c *cobra.Command, name string) (*scenarios.Scenario, error) {
	if name == "-" {
		return readScenario("stdin", c)
	}
	if target, ok := targetIn(name); ok {
		return nil, usage("%s: %s", c.Name(), asTarget(target))
	}
	if !strings.ContainsAny(name, "/.") {
		return findBuiltin(c.Name(), name)
	}
	return readScenario(name, c)
}

func readScenario(name string, c *cobra.Command) (*scenarios.Scenario, error) {
	in := c.InOrStdin()
	if name != "stdin" {
		f, err := os.Open(name)
		if err != nil {
			return nil, usage("%s: %w: name a scenario file that can be read", name, draft.Cause(err))
		}
		defer f.Close()
		in = f
	}
	s, err := file.Read(name, in)
	if err != nil {
		return nil, usage("%w", err)
	}
	return s, nil
}

// completeScenario offers the catalogue's names; the shell adds files.
func completeScenario(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
}

func newShow() *cobra.Command {
	return &cobra.Command{
		Use:     "show SCENARIO",
		Short:   "Print the file of a scenario that comes with the program",
		GroupID: "main",
		Long: `Print the file of a scenario that comes with the program, to start one of your own from.

docs/scenario-files.md tells what may stand in it.`,
		Example: `  tcpbench show long
  tcpbench show short > mine.yaml
  tcpbench show long | tcpbench run - --connections 100`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usage("show: which scenario? There are: %s", strings.Join(scenarios.Names, ", "))
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			s, err := findBuiltin("show", args[0])
			if err != nil {
				return err
			}
			_, err = c.OutOrStdout().Write(s.Text)
			return err
		},
		ValidArgsFunction: cobra.FixedCompletions(scenarios.Names, cobra.ShellCompDirectiveNoFileComp),
	}
}

func newCheck() *cobra.Command {
	return &cobra.Command{
		Use:     "check FILE...",
		Short:   "Check scenario files without running them",
		GroupID: "main",
		Long: `Check scenario files without running them. A mistake is named with its line and column,
and makes exit code 2; - is stdin.`,
		Example: `  tcpbench check release-gate.yaml
  tcpbench check first.yaml second.yaml
  tcpbench show short | tcpbench check -`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usage("check: which file? Name one or more, or - for stdin")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			wrong := 0
			for _, name := range args {
				if name == "-" {
					name = "stdin"
				}
				s, err := readScenario(name, c)
				if err == nil {
					_, err = s.Plans(c.Context(), nil)
				}
				if err != nil {
					wrong++
					fmt.Fprintf(c.ErrOrStderr(), "tcpbench: %s\n", advised(err))
					continue
				}
				fmt.Fprintf(c.OutOrStdout(), "%s: ok, %s, %s\n", name, report.Plural(s.Runs(), "phase"), report.Plural(s.Expected(), "expectation"))
			}
			if wrong > 0 {
				return exit{exitUsage, nil}
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt
		},
	}
}
