// Command tcpbench loads and measures the life of TCP connections.
//
// One file per verb: flags become a plan, a plan is run, a result is shown. Nothing is
// measured here.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tcpbench/internal/agent"
	"tcpbench/internal/probe"
	"tcpbench/internal/values"
	"tcpbench/metrics"
	"tcpbench/scenarios"
	"tcpbench/scenarios/stage"
)

// The exit codes, as the help and docs/exit-codes.md tell them.
const (
	exitFine          = 0
	exitFailed        = 1 // the run could not be made, or its result cannot be believed
	exitUsage         = 2
	exitNothing       = 3   // it was made, and no connection succeeded
	exitUnmet         = 4   // it was made, and an expectation did not hold
	exitNotReproduced = 5   // it was made, and did not show what its scenario claims
	exitCannot        = 6   // it was not made: this machine lacks what it needs
	exitUndecided     = 7   // it was made, and lacks evidence for or against what its scenario claims
	exitSignal        = 128 // and the signal's number: 129 SIGHUP, 130 SIGINT, 143 SIGTERM
)

// exit is an error that decides the exit code. A nil err says nothing on stderr.
type exit struct {
	code int
	err  error
}

func (e exit) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e exit) Unwrap() error { return e.err }

// usage makes a usage error: what is wrong, and what to do.
func usage(format string, args ...any) error {
	return exit{exitUsage, fmt.Errorf(format, args...)}
}

func main() {
	if agent.Invoked() {
		os.Exit(agent.Main(stage.Roles()))
	}
	if probe.Invoked() {
		os.Exit(probe.Main(scenarios.Questions()))
	}
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is the whole command without its process. It returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	root := newRoot(args...)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := mistaken(root, args)
	if err == nil {
		err = root.Execute()
	}
	if err == nil {
		return exitFine
	}
	code := exitUsage // what cobra finds by itself: unknown commands and arguments
	var e exit
	if errors.As(err, &e) {
		code = e.code
		if e.err == nil {
			return code
		}
	}
	fmt.Fprintf(stderr, "tcpbench: %s\n", advised(err))
	if code == exitUsage && !strings.Contains(err.Error(), "--help") {
		fmt.Fprintln(stderr, "See tcpbench --help, or --help after a command.")
	}
	return code
}

// newRoot makes the commands that a command line needs, and all without one.
func newRoot(line ...string) *cobra.Command {
	root := &cobra.Command{
		Use:   "tcpbench",
		Short: "Load and measure the life of TCP connections",
		Long: `tcpbench loads and measures the life of TCP connections: how many a machine makes
per second, at what latency, at what CPU cost, and what becomes of each.`,
		Example: `  tcpbench run short                                  own server, loopback, 10 s
  tcpbench run short --rate 5k --arrival poisson      an open loop
  tcpbench run short --target 127.0.0.1:8080 \
      --payload 'GET / HTTP/1.0\r\n\r\n' --until close    any server
  tcpbench serve --listen :9000                       the server alone`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       tool().Version,
	}
	root.AddGroup(&cobra.Group{ID: "main", Title: "Commands:"})
	root.AddCommand(newRun(line), newLab(line), newCompare(line), newDiff(), newProfiles(), newRestore(), newList(), newShow(), newCheck(), newDoctor(line), newWatch(), newServe())
	completeWords(root)
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usage("%w%s; %s --help lists the flags", values.Wanted(err), nearest(c, err), c.CommandPath())
	})
	root.SetVersionTemplate("tcpbench {{.Version}}\n")
	root.SetUsageTemplate(usageTemplate(root))
	return root
}

// completeWords offers the words of each flag that takes one of a few.
func completeWords(c *cobra.Command) {
	c.Flags().VisitAll(func(f *pflag.Flag) {
		if words := values.Words(f.Value); len(words) > 0 {
			_ = c.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
		}
	})
	for _, child := range c.Commands() {
		completeWords(child)
	}
}

func tool() metrics.Tool {
	t := metrics.Tool{Name: "tcpbench", Version: "devel"}
	if info, ok := debug.ReadBuildInfo(); ok {
		t.Go = info.GoVersion
		if v := info.Main.Version; v != "" && v != "(devel)" {
			t.Version = v
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				t.Version += "-" + s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return t
}
