package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"tcpbench/internal/machine"
	"tcpbench/internal/values"
)

func newProfiles() *cobra.Command {
	return &cobra.Command{
		Use:     "profiles [PROFILE]",
		Short:   "List the profiles of kernel settings, or print one",
		GroupID: "main",
		Long: `List the profiles of kernel settings that come with the program, or print one: a file of
sysctl.d, in which each line says what it does. The profile host is what this host has.`,
		Example: `  tcpbench profiles
  tcpbench profiles host
  tcpbench profiles time-wait`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			out := c.OutOrStdout()
			if len(args) == 0 {
				for _, name := range machine.Profiles() {
					fmt.Fprintf(out, "%-22s %s\n", name, about(name))
				}
				return nil
			}
			if text, ok := machine.Text(args[0]); ok {
				_, err := out.Write(text)
				return err
			}
			if args[0] != machine.HostProfile {
				if near := values.Nearest(args[0], machine.Profiles()); near != "" {
					return usage("profiles: no profile %q: did you mean %s?", args[0], near)
				}
				return usage("profiles: no profile %q; there are: %s", args[0], strings.Join(machine.Profiles(), ", "))
			}
			p, err := machine.Load(args[0])
			if err != nil {
				return exit{exitFailed, err}
			}
			for _, s := range p.Settings {
				fmt.Fprintf(out, "%s = %s\n", s.Key, s.Value)
			}
			return nil
		},
		ValidArgs: machine.Profiles(),
	}
}

// about is the first line of a profile.
func about(name string) string {
	if name == machine.HostProfile {
		return "what this host has now"
	}
	text, _ := machine.Text(name)
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimPrefix(line, "# ")
}
