package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/spf13/cobra"

	"tcpbench/internal/draft"
	"tcpbench/metrics"
	"tcpbench/metrics/compare"
	"tcpbench/metrics/report"
)

func newDiff() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:     "diff A B | diff A… -- B…",
		Short:   "Compare saved results",
		GroupID: "main",
		Long: `Compare saved results: two sides, each a result document, several of them, or a directory of
some. The output begins with what makes the comparison unfair and how the runs differed;
the table of tcpbench compare follows.

Only results of runs that were taken in turns can show a difference. A machine drifts: of
ten runs and the next ten of the same thing half differ. For other results the table has the
ratios, and the command that would tell.`,
		Example: `  tcpbench diff before.json after.json
  tcpbench diff before/*.json -- after/*.json
  tcpbench diff monday tuesday --format bench | benchstat -col /side -`,
		RunE: func(c *cobra.Command, args []string) error {
			left, right := args, []string(nil)
			switch at := c.ArgsLenAtDash(); {
			case at >= 0:
				left, right = args[:at], args[at:]
			case len(args) == 2:
				left, right = args[:1], args[1:]
			}
			if len(left) == 0 || len(right) == 0 {
				return usage("diff: which results? Two files or directories, or several on both sides of --")
			}
			var sides []compare.Side
			for _, names := range [][]string{left, right} {
				s, err := readSide(names)
				if err != nil {
					return err
				}
				sides = append(sides, s)
			}
			if err := show(c, report.Comparisons, format, sides); err != nil {
				return exit{exitFailed, err}
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return []string{"json"}, cobra.ShellCompDirectiveFilterFileExt
		},
	}
	formatFlag(c, &format, report.Comparisons)
	return c
}

// readSide reads the results of one side.
func readSide(names []string) (compare.Side, error) {
	s := compare.Side{Name: names[0]}
	if len(names) > 1 {
		s.Name = fmt.Sprintf("%s and %d more", names[0], len(names)-1)
	}
	for _, name := range names {
		files := []string{name}
		if info, err := os.Stat(name); err == nil && info.IsDir() {
			found, err := filepath.Glob(filepath.Join(name, "*.json"))
			if err != nil || len(found) == 0 {
				return s, usage("%s: no result (*.json) in this directory", name)
			}
			slices.Sort(found)
			files = found
		}
		for _, file := range files {
			r, err := readResult(file)
			if err != nil {
				return s, err
			}
			s.Results = append(s.Results, r)
		}
	}
	return s, nil
}

func readResult(name string) (*metrics.Result, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, usage("%s: %w: name a result that can be read", name, draft.Cause(err))
	}
	defer f.Close()
	r, err := metrics.Read(f)
	if err != nil {
		return nil, usage("%s: %w", name, err)
	}
	return r, nil
}
