package main

import (
	"github.com/spf13/cobra"

	"tcpbench/metrics"
	"tcpbench/metrics/report"
	"tcpbench/scenarios"
)

func newList() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:     "list [quantities]",
		Short:   "List the scenarios that come with the program, and which can be run here; or what --expect can name",
		GroupID: "main",
		Example: `  tcpbench list
  tcpbench list --format json | jq -r '.[].name'
  tcpbench list quantities
  tcpbench list --format json | jq -r '.[] | select(.here == "yes") | .name'`,
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"quantities"},
		RunE: func(c *cobra.Command, args []string) error {
			var err error
			if len(args) > 0 {
				err = show(c, report.QuantityLists, format, metrics.QuantityGroups())
			} else {
				err = show(c, scenarios.Listings, format, scenarios.ThisMachine().List())
			}
			if err != nil {
				return exit{exitFailed, err}
			}
			return nil
		},
	}
	formatFlag(c, &format, scenarios.Listings)
	return c
}
