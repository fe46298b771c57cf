package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"tcpbench/metrics"
	"tcpbench/metrics/report"
	"tcpbench/scenarios"
)

func newRun() *cobra.Command {
	o := newOptions()
	c := &cobra.Command{
		Use:     "run SCENARIO",
		Short:   "Run a workload and report what became of every connection",
		GroupID: "main",
		Long: `Run a workload against a server and report what became of every connection.

Scenarios:
  short    connect, one request, one response, close

Without --target the run starts a tcpbench server of its own on a free loopback port,
as a child process whose CPU time is accounted apart. With --target it loads that: a
tcpbench server as it is, any other server with --payload and --until, or --connect-only.

The result goes to stdout, as text or with --format json as a document (docs/result.md);
progress and warnings go to stderr. Ctrl-C ends the run in order and keeps what was
measured; a second one ends it at once.`,
		Example: `  tcpbench run short
  tcpbench run short --rate 5k --arrival poisson --duration 30s --out result.json
  tcpbench run short --close server --close-how rst --connections 256
  tcpbench run short --target 127.0.0.1:8080 --payload 'GET / HTTP/1.0\r\n\r\n' --until close
  tcpbench run short --target 127.0.0.1:6379 --payload 'PING\r\n' --until '\+PONG\r\n'
  tcpbench run short --target server.example:22 --connect-only --rate 10
  tcpbench run short --count 100000 --format json --quiet | jq .rate`,
		Args: func(c *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return usage("run: which scenario? There is: short")
			case len(args) > 1:
				return usage("run: one scenario at a time, not %q as well", args[1])
			case args[0] != "short":
				return usage("run: no scenario %q; there is: short", args[0])
			}
			return nil
		},
		ValidArgs: []string{"short\tconnect, one request, one response, close"},
		RunE: func(c *cobra.Command, args []string) error {
			return o.execute(c, args[0])
		},
	}
	o.register(c)
	return c
}

// execute makes the run that the flags describe and shows its result.
func (o *options) execute(c *cobra.Command, name string) error {
	ctx, stop := context.WithCancelCause(context.Background())
	defer stop(nil)
	plan, err := o.plan(ctx, c, name)
	if err != nil {
		return err
	}
	out, err := openOutput(o.out)
	if err != nil {
		return usage("--out %s: %w: name a file in a directory that can be written", o.out, err)
	}
	defer onSignals(stop)()

	view := newProgress(c.ErrOrStderr(), plan.Client.Warmup, plan.Client.Duration, o.quiet)
	result, err := scenarios.Run(ctx, plan, view.observer())
	view.end()
	if err != nil {
		return exit{exitFailed, err}
	}
	var saved error
	if result.Attempted > 0 { // an earlier result is worth more than a document about nothing
		saved = out.commit(result)
	}
	if saved != nil {
		saved = fmt.Errorf("--out %s: %w", o.out, saved)
		o.quiet = false // the result may have taken an hour: it is shown at least
	}
	if err := errors.Join(saved, o.show(c, result)); err != nil {
		return exit{exitFailed, err}
	}
	return verdict(ctx, result)
}

// show writes the result to stdout.
func (o *options) show(c *cobra.Command, r *metrics.Result) error {
	switch {
	case o.format == "json":
		return r.Write(c.OutOrStdout())
	case o.quiet && o.out != "":
		return nil
	}
	return report.Text(c.OutOrStdout(), r, report.Style{Color: colored(c.OutOrStdout()), Width: columns(c.OutOrStdout())})
}

// verdict chooses the exit code of a run that gave a result.
func verdict(ctx context.Context, r *metrics.Result) error {
	var caught signalled
	switch {
	case asSignalled(ctx, &caught):
		return exit{caught.code(), nil}
	case r.Succeeded == 0:
		return exit{exitNothing, nil}
	case r.Flagged("invalid"), r.Flagged("server-lost"):
		return exit{exitFailed, nil}
	}
	return nil
}

// signalled is why a context ended: a signal.
type signalled struct{ os.Signal }

func (s signalled) Error() string { return s.String() }

func (s signalled) code() int {
	if s.Signal == syscall.SIGTERM {
		return exitTerminated
	}
	return exitInterrupted
}

func asSignalled(ctx context.Context, to *signalled) bool {
	s, ok := context.Cause(ctx).(signalled)
	*to = s
	return ok
}

// onSignals ends the context at the first SIGINT or SIGTERM; the next one has its usual
// effect. It returns a function that lets go of the signals.
func onSignals(stop context.CancelCauseFunc) (release func()) {
	ch := make(chan os.Signal, 1)
	done := make(chan struct{})
	signal.Notify(ch, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		select {
		case s := <-ch:
			signal.Stop(ch)
			stop(signalled{s})
		case <-done:
		}
	}()
	return func() {
		signal.Stop(ch)
		close(done)
	}
}

// defaultTimeout bounds each stage of a connection. The kernel's own, tcp_syn_retries,
// would take two minutes.
const defaultTimeout = 5 * time.Second
