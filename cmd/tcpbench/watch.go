package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"tcpbench/internal/kernel"
	"tcpbench/internal/values"
	"tcpbench/metrics"
	"tcpbench/metrics/report"
)

// watchOptions are the flags of watch.
type watchOptions struct {
	every time.Duration
	count int
	top   int
	json  bool
}

func newWatch() *cobra.Command {
	o := &watchOptions{every: time.Second, top: 10}
	c := &cobra.Command{
		Use:     "watch",
		Short:   "Watch this host's TCP sockets, queues, ports and counters",
		GroupID: "main",
		Long: `Watch the TCP sockets of this network namespace: how many are in each state, how long the
accept queues are, which destinations take the local ports and how many are left, and
which of the kernel's counters grow, per second.

Nothing is sent and nothing changed. It needs no privilege. Ctrl-C ends it.`,
		Example: `  tcpbench watch
  tcpbench watch --every 5s --top 20
  tcpbench watch --json | jq -c '{time, tw: .states.TIME_WAIT, drops: .rates.TcpExt.ListenDrops}'
  tcpbench watch --count 1                  once, as of the last second`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return o.watch(c.OutOrStdout())
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.Var(values.Time(&o.every, 10*time.Millisecond, values.Year, 1), "every", "how often to look")
	f.Var(values.Whole(&o.count, 1, math.MaxInt32), "count", "end after so many looks (default no end)")
	f.Var(values.Whole(&o.top, 0, math.MaxInt32), "top", "how many pairs of source and destination to list, fullest first")
	f.BoolVar(&o.json, "json", false, "write a JSON document on one line for each look (docs/kernel.md)")
	return c
}

// watch looks again and again until the count is reached or a signal comes.
func (o *watchOptions) watch(out io.Writer) error {
	ctx, release := underSignals(nil)
	defer release()
	// Counters and sockets are those of the thread's namespace, and its processor time is
	// what a look costs.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	w, err := kernel.NewWatcher(time.Now())
	if err != nil {
		return exit{exitFailed, fmt.Errorf("watch: %w", err)}
	}
	defer w.Close()
	ticker := time.NewTicker(o.every)
	defer ticker.Stop()
	for n := 0; o.count == 0 || n < o.count; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		m, err := w.Look(time.Now(), o.top)
		if err != nil {
			return exit{exitFailed, fmt.Errorf("watch: %w", err)}
		}
		switch err := o.show(out, &m, n); {
		case errors.Is(err, syscall.EPIPE): // as in tcpbench watch | head
			return nil
		case err != nil:
			return exit{exitFailed, fmt.Errorf("watch: %w", err)}
		}
	}
	return nil
}

// show writes one look: on a terminal in place of the one before, elsewhere after it.
func (o *watchOptions) show(out io.Writer, m *metrics.Moment, n int) error {
	if o.json {
		return json.NewEncoder(out).Encode(m)
	}
	var text bytes.Buffer
	switch _, isTerminal := terminal(out); {
	case isTerminal && o.count != 1:
		text.WriteString("\x1b[H\x1b[J")
	case n > 0:
		text.WriteByte('\n')
	}
	if err := report.Moment(&text, m, report.Style{Color: colored(out), Width: columns(out)}); err != nil {
		return err
	}
	_, err := out.Write(text.Bytes())
	return err
}
