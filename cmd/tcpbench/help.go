package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tcpbench/metrics/report"
	"tcpbench/scenarios"
	"tcpbench/scenarios/workload"
)

const exitCodes = `
Exit codes: 0 fine, 1 failed or not to be believed, 2 usage, 3 nothing succeeded,
4 an expectation did not hold, 5 not reproduced, 6 this machine cannot,
7 undecided whether reproduced, 130 interrupted, 143 terminated, 129 the terminal went away.
`

// usageTemplate is cobra's, with the flags in groups and the exit codes at the end.
func usageTemplate(root *cobra.Command) string {
	cobra.AddTemplateFunc("flagGroups", flagGroups)
	return strings.Replace(root.UsageTemplate(), "Flags:\n{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}", "{{flagGroups .LocalFlags}}", 1) + exitCodes
}

// shownBy is the group of all flags that say nothing of the load.
const shownBy workload.Group = "output"

// grouped are the flags of a lab, by group; those of a workload say it themselves.
var grouped = map[string]workload.Group{
	"to-server": workload.Connection, "to-client": workload.Connection,
	"profile": workload.Kernel, "client-profile": workload.Kernel, "server-profile": workload.Kernel, "set": workload.Kernel,
	"strict": workload.Kernel, "on-host": workload.Kernel, "yes": workload.Kernel, "vary": workload.Kernel, "ablate": workload.Kernel,
	"rounds": workload.Load, "order": workload.Load,
}

// flagGroups lists flags under the headings of their groups, if there are several.
func flagGroups(all *pflag.FlagSet) string {
	order := []workload.Group{workload.Load, workload.Connection, workload.Server, workload.Kernel, shownBy}
	groups := map[workload.Group]*pflag.FlagSet{}
	all.VisitAll(func(f *pflag.Flag) {
		group := cmp.Or(workload.GroupOf(f), grouped[f.Name], shownBy)
		if groups[group] == nil {
			groups[group] = pflag.NewFlagSet(string(group), pflag.ContinueOnError)
			groups[group].SortFlags = false
		}
		groups[group].AddFlag(f)
	})
	if len(groups) < 2 {
		return "Flags:\n" + strings.TrimRight(all.FlagUsages(), "\n")
	}
	var texts []string
	for _, group := range slices.DeleteFunc(order, func(g workload.Group) bool { return groups[g] == nil }) {
		texts = append(texts, fmt.Sprintf("%s flags:\n%s", strings.ToUpper(string(group[:1]))+string(group[1:]), strings.TrimRight(groups[group].FlagUsages(), "\n")))
	}
	return strings.Join(texts, "\n\n")
}

// claimed is what a scenario claims.
func claimed(s *scenarios.Scenario) string {
	if s.Phenomenon == nil || s.Phenomenon.Benchmark() {
		return ""
	}
	return "It claims:\n" + report.Indent("  ", s.Phenomenon.Claim) + "\n\n"
}

// examplesOf are those of a verb's command for a scenario.
func examplesOf(verb string, s *scenarios.Scenario) string {
	switch of, known := examples[s.Name]; {
	case verb != "run":
		return ""
	case known:
		return of
	}
	return fmt.Sprintf("  tcpbench run %[1]s\n  tcpbench run %[1]s --explain\n  tcpbench run %[1]s --json | jq .verdict", s.Name)
}

var examples = map[string]string{
	scenarios.Short: `  tcpbench run short
  tcpbench run short --rate 5k --arrival poisson --duration 30s --out result.json
  tcpbench run short --rate 1k..50k/30s --duration 40s
  tcpbench run short --close server --close-how rst --connections 256
  tcpbench run short --target 127.0.0.1:8080 --payload 'GET / HTTP/1.0\r\n\r\n' --until close
  tcpbench run short --target 127.0.0.1:6379 --payload 'PING\r\n' --until '\+PONG\r\n'
  tcpbench run short --target 127.0.0.1:11211 --payload 'get key{{rand:6}}\r\n' --until 'END\r\n'
  tcpbench run short --target 127.0.0.1:25 --hello-until '^220 .*\r\n' --payload 'EHLO me\r\n' --until '250 .*\r\n'
  tcpbench run short --target server.example:22 --connect-only --rate 10
  tcpbench run short --count 100000 --format json --quiet | jq .rate`,
	scenarios.Long: `  tcpbench run long
  tcpbench run long --connections 100000 --heartbeat 5s --hold 30s
  tcpbench run long --heartbeat 1s --missed 3 --replace
  tcpbench run long --target 127.0.0.1:6379 --payload 'PING\r\n' --until '\+PONG\r\n' --heartbeat 1s
  tcpbench run long --connections 5000 --open-rate 1k --close-rate 500`,
	scenarios.SYNBurst: `  tcpbench run syn-burst
  tcpbench run syn-burst --burst 5000 --every 5s --backlog 128 --duration 20s
  tcpbench run syn-burst --burst 2000 --every 0s`,
}
