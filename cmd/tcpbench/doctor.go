package main

import (
	"cmp"
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"tcpbench/internal/kernel/sysinfo"
	"tcpbench/metrics"
	"tcpbench/metrics/diagnose"
	"tcpbench/metrics/report"
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

Alone it tries what this machine can do: namespaces, packet sockets, sysctls, BPF, and more;
what needs it, why it cannot, and the command that changes that. It also lists what the settings allow: connections per second from one address to one
destination, room for TIME_WAIT, queues, descriptors, memory; and settings that make a
measurement here mislead. With a scenario and its flags it tells what that run will meet:
when ports run out, whether a burst fits the accept queues, and how to mend it.

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
		if err := show(c, constitutions, *own, examineHost()); err != nil {
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
	formatFlag(c, format, prognoses)
	return format
}

var (
	prognoses     = report.Formats[[]prognosis]{{Name: "text", Write: writePrognoses}, {Name: "json", Write: report.JSON[[]prognosis]}}
	constitutions = report.Formats[*constitution]{{Name: "text", Write: writeHost}, {Name: "json", Write: report.JSON[*constitution]}}
)

// prognosis is what a run of a scenario will meet.
type prognosis struct {
	scenario string
	Host     metrics.Host      `json:"host"`
	Phase    string            `json:"phase,omitempty"`
	Findings []metrics.Finding `json:"findings"`
}

// examine tells what a scenario will meet on this host.
func examine(c *cobra.Command, s *scenarios.Scenario, format string) error {
	if s.Phenomenon != nil && !s.Phenomenon.Host {
		return usage("doctor: %s runs in a lab with settings of its own, not with this host's: tcpbench run %s shows what comes of them", s.Name, s.Name)
	}
	stages, err := s.Stages(context.Background(), workload.Overrides(c.Flags()))
	if err != nil {
		return exit{exitUsage, err}
	}
	host := sysinfo.Host()
	var all []prognosis
	ill := false
	for i := range stages {
		findings := append([]metrics.Finding{}, stages[i].Plan.Forecast(&host)...)
		ill = ill || len(findings) > 0
		all = append(all, prognosis{s.Name, host, stages[i].Name, findings})
	}
	switch err := show(c, prognoses, format, all); {
	case err != nil:
		return exit{exitFailed, err}
	case ill:
		return exit{exitUnmet, nil}
	}
	return nil
}

func writePrognoses(w io.Writer, all []prognosis, style report.Style) error {
	for _, p := range all {
		name := p.scenario
		if p.Phase != "" {
			name += ", phase " + p.Phase
		}
		if len(p.Findings) == 0 {
			if _, err := fmt.Fprintf(w, "%s: nothing in this host's settings stands in its way\n", name); err != nil {
				return err
			}
			continue
		}
		if _, err := fmt.Fprintf(w, "%s:\n", name); err != nil {
			return err
		}
		if err := report.Findings(w, p.Findings, style); err != nil {
			return err
		}
	}
	return nil
}

// constitution is what the machine can do, and what its settings allow.
type constitution struct {
	Host       metrics.Host        `json:"host"`
	Abilities  []metrics.Ability   `json:"abilities"`
	Capacities []diagnose.Capacity `json:"capacities"`
	Findings   []metrics.Finding   `json:"findings"`
}

// examineHost asks the machine.
func examineHost() *constitution {
	host := sysinfo.Host()
	return &constitution{host, thisMachine().abilities(&host), diagnose.Capacities(&host), append([]metrics.Finding{}, diagnose.Traps(&host)...)}
}

func writeHost(w io.Writer, c *constitution, style report.Style) error {
	host := &c.Host
	fmt.Fprintf(w, "%s, %d × %s, %s\n\n", host.Kernel, host.CPUs, host.CPUModel, cmp.Or(host.OS, "no /etc/os-release"))
	if err := report.Abilities(w, c.Abilities, style); err != nil {
		return err
	}
	fmt.Fprintln(w)
	var rows [][]string
	for _, one := range c.Capacities {
		rows = append(rows, []string{amount(one), one.What, one.From})
	}
	if err := report.Columns(w, 2, rows); err != nil {
		return err
	}
	return report.Findings(w, c.Findings, style)
}

func amount(c diagnose.Capacity) string {
	switch c.Unit {
	case "1/s":
		return report.Rate(c.Value)
	case "B":
		return fmt.Sprintf("%.3g GiB", c.Value/(1<<30))
	}
	return report.Count(int64(c.Value))
}
