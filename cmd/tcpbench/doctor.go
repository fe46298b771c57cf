package main

import (
	"cmp"

	"github.com/spf13/cobra"

	"tcpbench/scenarios"
	"tcpbench/scenarios/workload"
)

// newDoctor tells what will go wrong before it does.
func newDoctor(line []string) *cobra.Command {
	var own *string // --format without a scenario
	c := aboutScenarios(&cobra.Command{
		Use:   "doctor [SCENARIO|FILE.yaml]",
		Short: "Tell what this machine can do, and what a run will meet",
		Long: `Tell what will go wrong, by arithmetic on this host's settings and before anything is sent.

Without a scenario it tries what this machine can do (namespaces, packet sockets, sysctls, BPF
and more), and says what needs it, why it fails, and which command changes that. It lists what
the settings allow: connections per second from one address to one destination, room for
TIME_WAIT, queues, descriptors, memory; and settings that make a measurement here mislead.

With a scenario and its flags it says what that run will meet: when ports run out, whether a
burst fits the accept queues, and how to mend it.

Exit code 4 says that something will go wrong.`,
		Example: `  tcpbench doctor
  tcpbench doctor short --rate 50k --sources 127.0.0.1
  tcpbench doctor long --connections 2000000
  tcpbench doctor release-gate.yaml --target server.example:9000`,
	}, line, "or name a file", func(c *cobra.Command, s *scenarios.Scenario) func(*scenarios.Scenario) error {
		if s.Phenomenon != nil && !s.Phenomenon.Host {
			return nil // it runs in a lab, with settings of its own
		}
		format := doctorFlags(c, s)
		own = cmp.Or(own, format)
		return func(s *scenarios.Scenario) error { return examine(c, s, *format) }
	})
	checkArgs, examineOne := c.Args, c.RunE
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		return checkArgs(c, args)
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		switch {
		case len(args) > 0:
			return examineOne(c, args)
		case len(workload.Overrides(c.Flags())) > 0:
			return usage("doctor: flags of which scenario? There are: %v; or name a file", scenarios.Names)
		}
		if err := show(c, scenarios.Constitutions, *own, scenarios.ThisMachine().Examine()); err != nil {
			return exit{exitFailed, err}
		}
		return nil
	}
	return c
}

// doctorFlags makes the flags of the scenario's runs, and returns where --format will stand.
func doctorFlags(c *cobra.Command, s *scenarios.Scenario) *string {
	format := new(string)
	c.Flags().SortFlags = false
	s.Preset(c.Flags())
	formatFlag(c, format, scenarios.Prognoses)
	return format
}

// examine tells what a scenario will meet on this host.
func examine(c *cobra.Command, s *scenarios.Scenario, format string) error {
	if s.Phenomenon != nil && !s.Phenomenon.Host {
		return usage("doctor: %s runs in a lab with settings of its own, not with this host's: tcpbench run %s shows what comes of them", s.Name, s.Name)
	}
	plans, err := s.Plans(c.Context(), workload.Overrides(c.Flags()))
	if err != nil {
		return exit{exitUsage, err}
	}
	all := scenarios.Prognose(s, plans)
	if err := show(c, scenarios.Prognoses, format, all); err != nil {
		return exit{exitFailed, err}
	}
	for _, p := range all {
		if len(p.Findings) > 0 {
			return exit{exitUnmet, nil}
		}
	}
	return nil
}
