package workload

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"tcpbench/internal/values"
	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
	"tcpbench/scenarios/stage"
	"tcpbench/server"
)

// mostSlots is the number of slots of an open loop that nobody chose.
const mostSlots = 10000

// Plan makes a plan of the workload, or says which of its flags contradict each other
// (Misuse).
func (w *Workload) Plan(ctx context.Context) (stage.Plan, error) {
	if err := w.Check(); err != nil {
		return stage.Plan{}, err
	}
	plan := stage.Plan{
		Name: w.name, Observe: w.observe, Trace: w.bpf,
		Client: loadgen.Config{
			Process: pace.Closed, Connections: w.connections, Seed: w.seed,
			Loops: w.threads, Sources: w.sources, OnExhausted: w.onExhausted,
			Warmup: w.warmup, Duration: w.duration, Count: w.count, Timeout: w.timeout,
			OpenRate: w.openRate, ExchangeRate: w.exchangeRate, CloseRate: w.closeRate,
			Options: w.options,
		},
	}
	if w.count > 0 && !w.set("duration") {
		plan.Client.Duration = 0
		if !w.set("warmup") {
			plan.Client.Warmup = 0
		}
	}
	if !w.set("seed") {
		plan.Client.Seed = rand.Uint64()
	}
	w.arrive(&plan.Client)
	if err := w.aim(ctx, &plan); err != nil {
		return plan, err
	}
	if err := w.reach(&plan); err != nil {
		return plan, err
	}
	lifecycle, err := w.lifecycle()
	if err != nil {
		return plan, err
	}
	plan.Client.Lifecycle = lifecycle
	if err := w.checkSizes(&plan); err != nil {
		return plan, err
	}
	plan.Scripted = lifecycle.Response.Kind == loadgen.Exactly && !lifecycle.ConnectOnly
	plan.Preflight = lifecycle.Response.Kind != loadgen.Exactly && !lifecycle.ConnectOnly && !w.raw.noPreflight
	plan.Settings = w.settings(&plan)
	return plan, nil
}

// arrive chooses the arrival process.
func (w *Workload) arrive(c *loadgen.Config) {
	slots := func(n int) {
		if !w.set("connections") {
			c.Connections = n
		}
	}
	switch {
	case w.rate != nil:
		c.Process, c.Profile = w.arrival, w.rate
		slots(min(mostSlots, stage.MostConnections()))
	case w.burst > 0:
		c.Process, c.Burst, c.Every = pace.Bursts, w.burst, w.every
		slots(w.burst)
		// A moment in which all loops come to wait for the first instant.
		c.Warmup = max(c.Warmup, burstLead)
	case w.hold > 0:
		c.Process, c.HoldFor, c.Replace, c.Duration, c.Warmup = pace.Hold, w.hold, w.replace, 0, 0
	}
}

const burstLead = 50 * time.Millisecond

// aim fills in what to load.
func (w *Workload) aim(ctx context.Context, plan *stage.Plan) error {
	if w.target != "" {
		targets, err := stage.Resolve(ctx, w.target, w.family())
		if err != nil {
			return misuse("target", ": %w", err)
		}
		plan.Client.Targets = targets
		return nil
	}
	host := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if w.ipv6 {
		host = netip.IPv6Loopback()
	}
	ports := w.ports
	if len(ports) == 0 {
		ports = []uint16{0}
	}
	plan.Server = &server.Config{
		Loops: w.serverLoops, Backlog: w.backlog,
		MaxRequest: values.MaxMessage, MaxResponse: values.MaxMessage,
		Options: w.serverOptions,
	}
	plan.Server.FastOpen, plan.Server.MPTCP = w.options.FastOpen, w.options.MPTCP
	if w.serverOptions.KeepAlive > 0 {
		plan.Server.KeepInterval, plan.Server.KeepProbes = w.options.KeepInterval, w.options.KeepProbes
	}
	for _, p := range ports {
		plan.Server.Addrs = append(plan.Server.Addrs, netip.AddrPortFrom(host, p))
	}
	return w.checkPorts(plan)
}

// checkPorts finds out whether each server process has a port, if they are named.
func (w *Workload) checkPorts(plan *stage.Plan) error {
	n := plan.CrewSize()
	if len(w.ports) == 0 || n == 1 || len(w.ports) >= n {
		return nil
	}
	flag, value := "ports", w.flags.Lookup("ports").Value.String()
	if !w.flags.Changed(flag) {
		flag, value = "connections", fmt.Sprint(w.connections)
	}
	return misuse(flag, " %s: %d server processes are needed for %d connections, with a port each, and %d are named: name as many, or none",
		value, n, plan.Client.Connections, len(w.ports))
}

// family is the one to which the addresses of a name are limited, as package net calls it.
func (w *Workload) family() string {
	switch {
	case w.ipv4:
		return "ip4"
	case w.ipv6:
		return "ip6"
	}
	return "ip"
}

// reach tells whether every target can be reached from a source of its family.
func (w *Workload) reach(plan *stage.Plan) error {
	targets := plan.Client.Targets
	if plan.Server != nil {
		targets = plan.Server.Addrs
	}
	for _, t := range targets {
		suits := func(source netip.Addr) bool { return source.Unmap().Is4() == t.Addr().Unmap().Is4() }
		if w.sources != nil && !slices.ContainsFunc(w.sources, suits) {
			if w.isPreset("sources") && w.flags.Changed("target") {
				w.sources, plan.Client.Sources = nil, nil
				w.gone = append(w.gone, "sources")
				return nil
			}
			return misuse("sources", " has no address of the family of target %s: add one, or leave --sources out", t.Addr())
		}
	}
	return nil
}

// lifecycle is what one connection does.
func (w *Workload) lifecycle() (loadgen.Lifecycle, error) {
	switch {
	case w.connectOnly:
		return w.common(loadgen.Lifecycle{ConnectOnly: true}), nil
	case !w.set("payload", "payload-file"):
		return w.common(loadgen.Scripted(w.script())), nil
	}
	l := w.common(loadgen.Lifecycle{Response: w.until, Hello: w.greeting()})
	if err := w.ask(&l); err != nil {
		return l, err
	}
	if l.Response.Kind == loadgen.PeerFIN {
		l.CloseBy = wire.Server
	}
	return l, nil
}

// script is what the header of a connection asks of a tcpbench server.
func (w *Workload) script() wire.Script {
	s := wire.Script{
		CloseBy: w.closeBy, CloseHow: w.closeHow, Exchanges: uint16(w.exchanges),
		RequestSize: w.requestSize, ResponseSize: w.responseSize, Pattern: w.checkContent,
	}
	if w.heartbeat == 0 {
		return s
	}
	switch w.design {
	case loadgen.ServerListens:
		s.Kind, s.ResponseSize = wire.Listen, 0
		s.Exchanges, s.Beat = uint16(w.missed), w.heartbeat
	case loadgen.ServerPings:
		s.Kind = wire.Ping
		s.Exchanges, s.Beat = uint16(w.missed), w.heartbeat
	default:
		s.Exchanges = 0 // until the client closes
	}
	return s
}

// common fills in what every lifecycle has.
func (w *Workload) common(l loadgen.Lifecycle) loadgen.Lifecycle {
	l.CloseBy, l.CloseHow, l.CloseWait = w.closeBy, w.closeHow, w.closeWait
	l.Exchanges, l.Gap, l.Jitter, l.Pipeline = uint32(w.exchanges), w.gap, w.jitter, w.pipeline
	l.Hold, l.Keep = w.linger, w.hold > 0 && w.rate == nil && w.burst == 0
	if w.heartbeat > 0 {
		l.Exchanges = 1
		l.Beat = &loadgen.Heartbeat{Every: w.heartbeat, Missed: w.missed, Design: w.design, Aligned: w.phase == alignedPhase}
	}
	return l
}
