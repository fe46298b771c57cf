package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"tcpbench/internal/lab"
	"tcpbench/internal/values"
	"tcpbench/scenarios"
)

func newList() *cobra.Command {
	format := "text"
	c := &cobra.Command{
		Use:     "list",
		Short:   "List the scenarios that come with the program",
		GroupID: "main",
		Example: `  tcpbench list
  tcpbench list --format json | jq -r '.[].name'`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			type line struct {
				Name    string  `json:"name"`
				Summary string  `json:"summary"`
				Claim   string  `json:"claim,omitempty"`
				TakesS  float64 `json:"takes_s,omitempty"`
				Needs   string  `json:"needs,omitempty"`
				// Here is yes, loopback or no, and WhyNot and Lift say why and what changes it.
				Here   scenarios.Here `json:"here"`
				WhyNot string         `json:"why_not,omitempty"`
				Lift   string         `json:"lift,omitempty"`
				// Steps, Verdict and Production are what --explain tells.
				Steps      []string `json:"steps,omitempty"`
				Verdict    []string `json:"verdict,omitempty"`
				Production string   `json:"production,omitempty"`
			}
			lines, machine := []line{}, thisMachine()
			for _, s := range scenarios.Builtins() {
				l := line{Name: s.Name, Summary: s.Summary}
				var why *lab.Refusal
				if l.Here, why = machine.here(s.Requires()); why != nil {
					l.WhyNot, l.Lift = why.Error(), why.Lift
				}
				if p := s.Phenomenon; p != nil {
					l.Claim, l.TakesS, l.Needs = p.Claim, p.Takes.Seconds(), p.Needs()
					l.Steps, l.Verdict, l.Production = p.Steps, p.Verdict(), p.Production
				}
				lines = append(lines, l)
			}
			if format == "json" {
				return writeJSON(c.OutOrStdout(), lines)
			}
			w := tabwriter.NewWriter(c.OutOrStdout(), 0, 0, 3, ' ', 0)
			fmt.Fprintln(w, "scenario\twhat it shows\ttakes\tneeds\there")
			for _, l := range lines {
				takes := time.Duration(l.TakesS * float64(time.Second))
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", l.Name, l.Summary, takes, l.Needs, l.Here)
			}
			if err := w.Flush(); err != nil {
				return err
			}
			told := map[string]bool{}
			for _, l := range lines {
				if l.Here == scenarios.Runs || told[l.WhyNot] {
					continue
				}
				told[l.WhyNot] = true
				fmt.Fprintf(c.OutOrStdout(), "\nhere: %s, because this machine cannot %s\n  to allow it: %s\n", l.Here, l.WhyNot, l.Lift)
			}
			fmt.Fprintf(c.OutOrStdout(), "\nNot yet, for they need crafted packets: %s.\n", strings.Join(scenarios.Planned, ", "))
			return nil
		},
	}
	c.Flags().Var(values.New(&format, "text", "text|json", parseFormat), "format", "what to print on stdout")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}
