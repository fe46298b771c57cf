package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"tcpbench/internal/lab"
	"tcpbench/metrics"
	"tcpbench/scenarios"
)

// prepared is a scenario that can be run: its flags are read, and nothing has been done yet.
type prepared struct {
	scenario *scenarios.Scenario
	stages   []scenarios.Stage // none of an experiment
	expect   []*scenarios.Expectation
	in       *labOptions // nil for a run on the host itself
	judged   bool        // whether it has shown what it claims
	traced   bool        // by the kernel's tracepoints; of a load its plan says so
}

// prepare reads the flags of a run.
func (o *runOptions) prepare(c *cobra.Command, s *scenarios.Scenario) (*prepared, error) {
	r := &prepared{scenario: s, expect: s.Expectations(), in: o.in, traced: o.bpf}
	if s.Experiment() && len(o.expect) > 0 {
		return nil, usage("--expect: %s is an experiment, and its verdict decides: leave it out", s.Name)
	}
	for _, text := range o.expect {
		e, err := scenarios.ParseExpectation(text)
		if err != nil {
			return nil, usage("--expect %q: %w", text, err)
		}
		r.expect = append(r.expect, e)
	}
	var err error
	over := scenarios.Overrides(c.Flags())
	if r.stages, err = s.Stages(c.Context(), over); err != nil {
		return nil, exit{exitUsage, err}
	}
	for i := range r.stages {
		r.stages[i].Plan.Tool, r.stages[i].Plan.Command = tool(), os.Args
	}
	p := s.Phenomenon
	r.judged = p != nil && (!p.Host || len(over) == 0)
	if r.in == nil && p != nil && !p.Host { // what it claims is to be seen in a lab of its own
		r.in = &labOptions{profile: lab.KernelDefault}
	}
	return r, nil
}

// run runs it, in a lab if it is to be in one. A result may come with an error: of what had to
// be put back.
func (r *prepared) run(ctx context.Context, c *cobra.Command, view *progress) (result *metrics.Result, failed error) {
	s := r.scenario
	var venue *scenarios.Venue
	if r.in != nil {
		v, err := r.in.settle(c, s, r.stages)
		if err != nil {
			return nil, err
		}
		if venue = v; v != nil {
			defer func() { failed = errors.Join(failed, v.Close()) }()
		}
	}
	var err error
	if s.Experiment() {
		result, err = s.Perform(ctx, venue, r.traced, view.happened)
	} else {
		result, err = scenarios.RunStages(ctx, r.stages, r.expect, view.observer())
	}
	if err != nil {
		return nil, failure("run "+s.Name, err)
	}
	result.Tool, result.Command = tool(), os.Args
	if r.judged && !result.Flagged("interrupted") { // half a run shows nothing
		result.Verdict = s.Phenomenon.Judge(result)
	}
	return result, nil
}

// record begins the file of packets, if there is to be one. The function that it returns ends
// it, and says what is in it.
func (o *runOptions) record(r *prepared) (finish func(io.Writer) error, err error) {
	if o.pcap == "" {
		return func(io.Writer) error { return nil }, nil
	}
	if r.in == nil {
		return nil, usage("--pcap: only the packets of a lab are written: tcpbench lab %s --pcap %s, or use tcpdump", r.scenario.Name, o.pcap)
	}
	f, err := os.Create(o.pcap)
	if err != nil {
		return nil, usage("--pcap %s: %w: name a file in a directory that can be written", o.pcap, cause(err))
	}
	capture := lab.NewCapture(f)
	r.in.capture = capture
	return func(w io.Writer) error {
		err := errors.Join(capture.Flush(), f.Close())
		if err == nil && !o.quiet {
			fmt.Fprintf(w, "%d packets in %s", capture.Packets, o.pcap)
			if capture.Dropped > 0 {
				fmt.Fprintf(w, "; %d more came too fast", capture.Dropped)
			}
			fmt.Fprintln(w)
		}
		return err
	}, nil
}
