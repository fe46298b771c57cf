package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"tcpbench/internal/machine"
)

func newRestore() *cobra.Command {
	return &cobra.Command{
		Use:     "restore",
		Short:   "Put back the settings of this machine after a run that was killed",
		GroupID: "main",
		Long: `Put back the settings of this machine that a run with --on-host has changed, if it was killed
before it could. What they were is in ` + machine.JournalFile + `. A setting that
somebody else has changed since keeps that value, and is named. If nothing is changed, or the
machine has been restarted, there is nothing to do.`,
		Example: `  tcpbench restore`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			m := machine.This()
			left := 0
			m.Kept = func(r machine.Restored) {
				left++
				fmt.Fprintln(c.OutOrStdout(), kept(r))
			}
			all, err := m.Restore()
			for _, r := range all {
				fmt.Fprintf(c.OutOrStdout(), "%s = %s (it was %s)\n", r.Key, r.Before, r.Now)
			}
			if err != nil {
				return exit{exitFailed, err}
			}
			if len(all)+left == 0 {
				fmt.Fprintln(c.OutOrStdout(), "nothing to put back")
			}
			return nil
		},
	}
}
