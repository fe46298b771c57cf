package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"tcpbench/internal/lab"
	"tcpbench/scenarios"
)

// explain says what a scenario would do, and does nothing.
func explain(c *cobra.Command, s *scenarios.Scenario, stages []scenarios.Stage) error {
	w := c.OutOrStdout()
	fmt.Fprintf(w, "%s: %s\n", s.Name, s.Summary)
	p := s.Phenomenon
	if p == nil {
		for _, stage := range stages {
			explainStage(w, &stage)
		}
		fmt.Fprintf(w, "\nIt claims nothing: what is expected of a run is for --expect to say. tcpbench show %s prints its file.\n", s.Name)
		return nil
	}
	fmt.Fprintf(w, "\nclaim\n%s\n\nwhat is done, in about %v, in a lab of its own\n", folded(p.Claim), p.Takes)
	explainSetup(w, "  ", &p.Setup)
	for i, step := range p.Steps {
		head := fmt.Sprintf("  %d. ", i+1)
		fmt.Fprintln(w, head+strings.TrimLeft(strings.ReplaceAll(folded(step), "\n", "\n   "), " "))
	}
	for _, stage := range stages {
		explainStage(w, &stage)
	}
	fmt.Fprintln(w, "\nwhat decides")
	for _, e := range p.Verdict() {
		fmt.Fprintf(w, "  %s\n", e)
	}
	fmt.Fprintf(w, "\nin production\n%s\n", folded(p.Production))
	if p.Scaled() {
		fmt.Fprintln(w, "\nIts parameters are small, to save time; --realistic takes real ones.")
	}
	return nil
}

// explainSetup tells of the lab.
func explainSetup(w io.Writer, indent string, s *scenarios.Setup) {
	for _, h := range []struct {
		name     string
		settings []lab.Setting
	}{{"client", s.Client}, {"server", s.Server}} {
		for _, set := range h.settings {
			fmt.Fprintf(w, "%s%s: %s = %s\n", indent, h.name, set.Key, set.Value)
		}
	}
	for _, d := range []struct{ name, how string }{{"server", s.Link.ToServer.String()}, {"client", s.Link.ToClient.String()}} {
		if d.how != "" {
			fmt.Fprintf(w, "%spackets to the %s: %s\n", indent, d.name, d.how)
		}
	}
	for _, m := range s.Timeline {
		for _, d := range []struct {
			name string
			how  *lab.Impairment
		}{{"server", m.ToServer}, {"client", m.ToClient}} {
			if d.how != nil {
				fmt.Fprintf(w, "%spackets to the %s, after %v: %s\n", indent, d.name, m.At, d.how)
			}
		}
	}
}

// explainStage tells of a run, in the words of its flags.
func explainStage(w io.Writer, s *scenarios.Stage) {
	if s.Name != "" {
		fmt.Fprintf(w, "\n  %s: %s\n", s.Name, s.Why)
	}
	var set []string
	for name, value := range s.Plan.Settings {
		if value != "" && value != "false" && value != "0" && value != "0s" {
			set = append(set, "--"+name+" "+value)
		}
	}
	slices.Sort(set)
	for _, line := range strings.Split(folded(strings.Join(set, " ")), "\n") {
		fmt.Fprintf(w, "  %s\n", line)
	}
	if s.Phenomenon != nil {
		explainSetup(w, "    ", &s.Phenomenon.Setup)
	}
}

// folded breaks a text into lines of a terminal's width.
func folded(text string) string {
	const width = 78
	var b strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		if column > 0 && column+1+len(word) > width {
			b.WriteString("\n")
			column = 0
		}
		if column == 0 {
			b.WriteString("  ")
			column = 2
		} else {
			b.WriteString(" ")
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}
