package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tcpbench/internal/lab"
	"tcpbench/metrics/report"
	"tcpbench/scenarios"
	"tcpbench/scenarios/file"
	"tcpbench/scenarios/workload"
)

// explain says what a scenario would do, and does nothing.
func explain(c *cobra.Command, s *scenarios.Scenario, stages []scenarios.Stage) error {
	w := c.OutOrStdout()
	fmt.Fprintf(w, "%s: %s\n", s.Name, s.Summary)
	load := lacking(s.Load(), gone(stages))
	for _, o := range workload.Overrides(c.Flags()) {
		load = slices.DeleteFunc(load, func(words string) bool { return strings.HasPrefix(words, "--"+o.Name+" ") })
		load = append(load, "--"+o.Name+" "+o.Value)
	}
	p := s.Phenomenon
	if p == nil {
		explainLoad(w, load, stages)
		fmt.Fprintln(w, "\nIt claims nothing: what is expected of a run is for --expect to say.")
		return nil
	}
	place := "in a lab of its own"
	switch {
	case p.Host:
		place = "on this host itself"
	case p.OnLoopback():
		place = "on this host's loopback"
	}
	if !p.Benchmark() {
		fmt.Fprintf(w, "\nclaim\n%s\n", report.Indent("  ", p.Claim))
	}
	fmt.Fprintf(w, "\nwhat is done, in about %v, %s\n", p.Takes, place)
	for i, step := range p.Steps {
		fmt.Fprintln(w, report.Indent(fmt.Sprintf("  %d. ", i+1), step))
	}
	explainSetup(w, "  ", &p.Setup)
	if p.OnLoopback() {
		explainOptions(w, p.Loopback)
	}
	explainLoad(w, load, stages)
	if p.Benchmark() {
		fmt.Fprintln(w, "\nIt is a benchmark: it claims nothing, so there is no verdict.")
	} else {
		fmt.Fprintln(w, "\nwhat decides")
		explainVerdict(w, p)
	}
	fmt.Fprintf(w, "\nin production\n%s\n", report.Indent("  ", p.Production))
	explainScale(w, p)
	if p.Loopback != nil && !p.OnLoopback() {
		return explainLoopback(c, p)
	}
	return nil
}

// explainScale says which parameters are not as in production.
func explainScale(w io.Writer, p *file.Phenomenon) {
	if p.OnLoopback() {
		return // what stands in for a lab is told of already
	}
	if len(p.Scaled) == 0 {
		fmt.Fprintln(w, "\nNothing is scaled down: the parameters are real.")
		return
	}
	real := "there is no form with real parameters"
	if d := p.RealTime(); d > 0 {
		real = fmt.Sprintf("with --realistic it takes about %v", d)
	}
	fmt.Fprintf(w, "\nscaled, to save time; %s\n", real)
	for _, what := range p.Scaled {
		fmt.Fprintln(w, report.Indent("  - ", what))
	}
}

// gone is what the scenario sets that has given way to the command line, in any phase.
func gone(stages []scenarios.Stage) (all []string) {
	for _, s := range stages {
		all = append(all, lacking(s.Gone, all)...)
	}
	return all
}

func lacking(words, some []string) (rest []string) {
	for _, w := range words {
		if !slices.Contains(some, w) {
			rest = append(rest, w)
		}
	}
	return rest
}

// explainLoopback tells what would be done where no lab can be made, as far as that differs.
func explainLoopback(c *cobra.Command, p *file.Phenomenon) error {
	w, s := c.OutOrStdout(), p.Loopback.Scenario()
	own := s.Phenomenon
	stages, err := s.Stages(c.Context(), workload.Overrides(c.Flags()))
	if err != nil {
		return exit{exitUsage, err}
	}
	fmt.Fprintf(w, "\nif no lab can be made, or with --where loopback: in about %v, on loopback\n", own.Takes)
	if !slices.Equal(own.Steps, p.Steps) {
		for i, step := range own.Steps {
			fmt.Fprintln(w, report.Indent(fmt.Sprintf("  %d. ", i+1), step))
		}
	}
	explainOptions(w, p.Loopback)
	explainLoad(w, s.Load(), stages)
	if slices.Equal(own.Verdict(), p.Verdict()) && slices.Equal(own.Conditions(), p.Conditions()) {
		fmt.Fprintln(w, "\nThe same decides as in a lab.")
		return nil
	}
	fmt.Fprintln(w, "\nwhat decides there")
	explainVerdict(w, own)
	return nil
}

// explainVerdict tells which evidence decides, and when it does not.
func explainVerdict(w io.Writer, p *file.Phenomenon) {
	for _, e := range p.Verdict() {
		fmt.Fprintln(w, report.Indent("  - ", e))
	}
	for _, c := range p.Conditions() {
		fmt.Fprintln(w, report.Indent("  undecided, "+c[0]+", unless ", c[1]))
	}
}

// explainOptions tells what stands in for a lab.
func explainOptions(w io.Writer, l *file.Loopback) {
	fmt.Fprintln(w, report.Indent("  evidence: ", l.Evidence))
	r := l.Report("")
	for _, end := range []struct {
		name    string
		options map[string]string
	}{{"client", r.Client}, {"server", r.Server}} {
		for _, name := range slices.Sorted(maps.Keys(end.options)) {
			fmt.Fprintf(w, "  sockets of the %s: %s = %s\n", end.name, name, end.options[name])
		}
	}
}

// explainLoad tells of the runs, in the words of their flags.
func explainLoad(w io.Writer, load []string, stages []scenarios.Stage) {
	if len(load) > 0 {
		fmt.Fprintf(w, "\nload\n%s\n", report.Indent("  ", strings.Join(load, " ")))
	}
	for _, s := range stages {
		if s.Name == "" {
			continue
		}
		fmt.Fprintf(w, "\n%s\n", report.Indent("  "+s.Name+": ", s.Why))
		if s.Costs != "" {
			fmt.Fprintln(w, report.Indent("    costs: ", s.Costs))
		}
		if len(s.Load()) > 0 {
			fmt.Fprintln(w, report.Indent("    ", strings.Join(lacking(s.Load(), s.Gone), " ")))
		}
		if s.Setup != nil {
			explainSetup(w, "    ", s.Setup)
		}
		if s.Plan.Freeze != nil {
			fmt.Fprintln(w, report.Indent("    ", s.Plan.Freeze.String()))
		}
	}
}

// explainSetup tells of a lab.
func explainSetup(w io.Writer, indent string, s *file.Setup) {
	for _, set := range s.Client {
		who := "client"
		if slices.Contains(s.Server, set) {
			who = "both hosts"
		}
		fmt.Fprintf(w, "%s%s: %s = %s\n", indent, who, set.Key, set.Value)
	}
	for _, set := range s.Server {
		if !slices.Contains(s.Client, set) {
			fmt.Fprintf(w, "%sserver: %s = %s\n", indent, set.Key, set.Value)
		}
	}
	say := func(to string, how *lab.Impairment, when string) {
		if how != nil && how.String() != "" {
			fmt.Fprintf(w, "%spackets to the %s%s: %s\n", indent, to, when, how)
		}
	}
	say("server", &s.Link.ToServer, "")
	say("client", &s.Link.ToClient, "")
	for _, m := range s.Timeline {
		say("server", m.ToServer, fmt.Sprintf(", after %v", m.At))
		say("client", m.ToClient, fmt.Sprintf(", after %v", m.At))
	}
}
