package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"tcpbench/internal/draft"
	"tcpbench/internal/machine"
	"tcpbench/internal/pcap"
	"tcpbench/metrics"
	"tcpbench/scenarios"
	"tcpbench/scenarios/expect"
	"tcpbench/scenarios/file"
	"tcpbench/scenarios/workload"
)

// prepared is a scenario that can be run: its flags are read, and nothing has been done yet.
type prepared struct {
	scenario *scenarios.Scenario
	plans    []scenarios.PhasePlan // none of an experiment
	where    scenarios.Where
	options  scenarios.Options
	in       *labOptions // nil for a run on the host itself
}

// prepare reads the flags of a run.
func (o *runOptions) prepare(c *cobra.Command, s *scenarios.Scenario) (*prepared, error) {
	why, err := o.where.settle(s)
	if err != nil {
		return nil, err
	}
	traced, _ := c.Flags().GetBool("bpf")
	switch {
	case why != "" && traced && s.Experiment():
		return nil, usage("--bpf: an experiment on loopback is not traced: leave it out, or use --where lab (%s)", why)
	case why != "" && o.realistic:
		return nil, usage("--realistic: %s has no other parameters on loopback: leave it out, or use --where lab (%s)", s.Name, why)
	case o.realistic && s.Phenomenon == nil:
		return nil, usage("--realistic: %s claims nothing, so it has no other parameters: leave it out", s.Name)
	case o.realistic:
		said := realTime(s.Phenomenon)
		if err := s.Realistic(); err != nil {
			return nil, usage("--realistic: %s: %w; tcpbench run %s --explain says what is scaled", s.Name, err, s.Name)
		}
		fmt.Fprintln(c.ErrOrStderr(), said)
	}
	if s.Experiment() {
		if err := chooseFamily(c, s, why); err != nil {
			return nil, err
		}
	}
	r := &prepared{scenario: s, in: o.in, where: scenarios.Where{NoLab: why}}
	r.options = scenarios.Options{Overrides: workload.Overrides(c.Flags()), Trace: traced, Tool: tool(), Command: os.Args}
	if s.Experiment() && len(o.expect) > 0 {
		return nil, usage("--expect: %s is an experiment, and its verdict decides: leave it out", s.Name)
	}
	for _, text := range o.expect {
		e, err := expect.Parse(text)
		if err != nil {
			return nil, usage("--expect %q: %w", text, err)
		}
		r.options.Expect = append(r.options.Expect, e)
	}
	if r.in == nil && s.Requires().Lab {
		r.in = &labOptions{profile: machine.KernelDefault}
	}
	if r.in != nil {
		if r.where.Lab, err = r.in.lab(c); err != nil {
			return nil, err
		}
	}
	if r.plans, err = scenarios.Plan(c.Context(), s, r.where, r.options.Overrides); err != nil {
		return nil, exit{exitUsage, err}
	}
	return r, nil
}

// realTime says how long a scenario takes with real parameters.
func realTime(p *file.Phenomenon) string {
	if len(p.Scaled) == 0 {
		return fmt.Sprintf("Nothing is scaled down in this scenario: it takes about %v, as without --realistic.", p.Takes)
	}
	return fmt.Sprintf("With real parameters this takes about %v, in place of %v.", p.RealTime(), p.Takes)
}

// chooseFamily takes -4 and -6 for an experiment; a load has them among its own flags.
// unlabbed is why there is no lab, and empty for one.
func chooseFamily(c *cobra.Command, s *scenarios.Scenario, unlabbed string) error {
	four, _ := c.Flags().GetBool("ipv4") // both are there
	six, _ := c.Flags().GetBool("ipv6")
	switch {
	case four && six:
		return usage("--ipv4 and --ipv6: an experiment is done on connections of one family: leave one of them out")
	case six && unlabbed != "":
		return usage("--ipv6: on loopback an experiment is done over IPv4: leave it out, or use --where lab (%s)", unlabbed)
	case six:
		s.OverIPv6()
	}
	return nil
}

// run runs it. A result may come with an error from putting things back.
func (r *prepared) run(ctx context.Context, view *progress) (*metrics.Result, error) {
	result, err := scenarios.Run(ctx, r.scenario, r.where, r.options, view.observer())
	if err != nil {
		err = failure(err)
	}
	return result, err
}

// recording is the file of packets of a run under way; nil is none.
type recording struct {
	path    string
	file    *draft.Writing
	capture *pcap.Capture
}

// record begins the file of packets, if one is asked for.
func (o *runOptions) record(r *prepared) (*recording, error) {
	if o.pcap == "" {
		return nil, nil
	}
	if r.in == nil {
		return nil, usage("--pcap: only the packets of a lab are written: tcpbench lab %s --pcap %s, or use tcpdump", r.scenario.Name, o.pcap)
	}
	out, err := draft.Open(o.pcap, os.Stdout, os.Stderr)
	var w *draft.Writing
	if err == nil {
		w, err = out.Begin()
	}
	if err != nil {
		return nil, usage("--pcap %s: %w: name a file in a directory that can be written", o.pcap, draft.Cause(err))
	}
	r.where.Lab.Capture = pcap.NewCapture(w)
	return &recording{path: o.pcap, file: w, capture: r.where.Lab.Capture}, nil
}

// finish keeps the file if the run gave a result, and says on w what is in it; w may be nil.
// If the run failed, or a packet could not be written, there is no file.
func (p *recording) finish(w io.Writer, ran bool) error {
	if p == nil {
		return nil
	}
	if !ran {
		return p.file.Discard()
	}
	err := p.capture.Flush()
	if err != nil {
		err = errors.Join(err, p.file.Discard())
	} else {
		err = p.file.Keep()
	}
	if err != nil {
		return fmt.Errorf("--pcap %s: %w", p.path, err)
	}
	if w == nil {
		return nil
	}
	text := fmt.Sprintf("%d packets in %s", p.capture.Packets, p.path)
	if p.capture.Dropped > 0 {
		text += fmt.Sprintf("; %d more came too fast", p.capture.Dropped)
	}
	_, err = fmt.Fprintln(w, text)
	return err
}
