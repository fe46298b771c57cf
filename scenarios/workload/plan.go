package workload

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"tcpbench/internal/values"
	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
	"tcpbench/scenarios/stage"
)

const (
	// mostSlots is the number of slots of an open loop by default.
	mostSlots = 10000
	// burstLead is a warm-up in which all loops come to wait for the first burst.
	burstLead = 50 * time.Millisecond
)

// Plan returns the plan of the workload. The error is a Misuse if its flags contradict each other.
func (w *Workload) Plan(ctx context.Context) (stage.Plan, error) {
	if err := w.Check(); err != nil {
		return stage.Plan{}, err
	}
	plan := w.plan
	c := &plan.Client
	if c.Count > 0 && !w.set("duration") {
		c.Duration = 0
		if !w.set("warmup") {
			c.Warmup = 0
		}
	}
	if !w.set("seed") {
		c.Seed = rand.Uint64()
	}
	w.arrive(c)
	if err := w.aim(ctx, &plan); err != nil {
		return plan, err
	}
	if err := w.live(&c.Lifecycle); err != nil {
		return plan, err
	}
	for _, f := range w.table {
		if f.check == nil {
			continue
		}
		if err := f.check(&plan); err != nil {
			return plan, err
		}
	}
	scripted := c.Lifecycle.Response.Kind == loadgen.Exactly
	plan.Scripted = scripted && !c.Lifecycle.ConnectOnly
	plan.Preflight = !scripted && !c.Lifecycle.ConnectOnly && !w.noPreflight
	plan.Settings = w.settings(c)
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
	case c.Profile != nil:
		c.Process = w.arrival
		slots(min(mostSlots, stage.MostConnections()))
	case c.Burst > 0:
		c.Process, c.Warmup = pace.Bursts, max(c.Warmup, burstLead)
		slots(c.Burst)
	case c.HoldFor > 0:
		c.Process, c.Duration, c.Warmup = pace.Hold, 0, 0
	}
}

// aim fills in what to load, and from where.
func (w *Workload) aim(ctx context.Context, plan *stage.Plan) (err error) {
	if w.target != "" {
		if plan.Client.Targets, err = stage.Resolve(ctx, w.target, w.network()); err != nil {
			return misuse("target", ": %w", err)
		}
		return w.reach(plan, plan.Client.Targets)
	}
	own, client := w.server, &plan.Client.Options
	own.FastOpen, own.MPTCP = client.FastOpen, client.MPTCP
	if own.KeepAlive > 0 {
		own.KeepInterval, own.KeepProbes = client.KeepInterval, client.KeepProbes
	}
	host := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if w.ipv6 {
		host = netip.IPv6Loopback()
	}
	ports := w.ports
	if len(ports) == 0 {
		ports = []uint16{0}
	}
	for _, p := range ports {
		own.Addrs = append(own.Addrs, netip.AddrPortFrom(host, p))
	}
	plan.Server = &own
	return w.reach(plan, own.Addrs)
}

// network is the family to which the addresses of a name are limited, as package net calls it.
func (w *Workload) network() string {
	switch {
	case w.ipv4:
		return "ip4"
	case w.ipv6:
		return "ip6"
	}
	return "ip"
}

// reach refuses sources of which none is of the family of a target. Preset sources give way to a
// target of the user.
func (w *Workload) reach(plan *stage.Plan, targets []netip.AddrPort) error {
	sources := plan.Client.Sources
	for _, t := range targets {
		suits := func(source netip.Addr) bool { return source.Unmap().Is4() == t.Addr().Unmap().Is4() }
		switch {
		case sources == nil || slices.ContainsFunc(sources, suits):
		case w.isPreset("sources") && w.flags.Changed("target"):
			plan.Client.Sources = nil
			w.gone = append(w.gone, "sources")
			return nil
		default:
			return misuse("sources", " has no address of the family of target %s: add one, or leave --sources out", t.Addr())
		}
	}
	return nil
}

// live completes what one connection does.
func (w *Workload) live(l *loadgen.Lifecycle) error {
	c := &w.plan.Client
	l.Exchanges = uint32(w.exchanges)
	l.StayToEnd = c.HoldFor > 0 && c.Profile == nil && c.Burst == 0
	if w.beat.Every > 0 {
		beat := w.beat
		beat.Aligned = w.phase == alignedPhase
		l.Exchanges, l.Beat = 1, &beat
	}
	switch {
	case l.ConnectOnly:
		return nil
	case w.set("payload", "payload-file"):
		return w.ask(l)
	}
	scripted := loadgen.Scripted(w.ordered(l))
	l.Request, l.Again, l.Response = scripted.Request, scripted.Again, scripted.Response
	return nil
}

// ordered is the script that the header of a connection orders from a tcpbench server.
func (w *Workload) ordered(l *loadgen.Lifecycle) wire.Script {
	s := w.script
	s.CloseBy, s.CloseHow, s.Exchanges, s.Pattern = l.CloseBy, l.CloseHow, uint16(w.exchanges), l.Pattern
	if w.beat.Every == 0 {
		return s
	}
	switch w.beat.Design {
	case loadgen.ClientPings:
		s.Exchanges = 0 // until the client closes
		return s
	case loadgen.ServerListens:
		s.Kind, s.ResponseSize = wire.Listen, 0
	case loadgen.ServerPings:
		s.Kind = wire.Ping
	}
	s.Exchanges, s.Beat = uint16(w.beat.Missed), w.beat.Every
	return s
}

// settings are the flags that make this plan of a scenario that sets nothing: those that were
// given, and the defaults that were chosen, as far as no rule forbids to write them.
func (w *Workload) settings(c *loadgen.Config) map[string]string {
	settings := map[string]string{}
	w.flags.VisitAll(func(f *pflag.Flag) {
		text := f.Value.String()
		if text == f.DefValue && (text == "" || text == "false") || !w.mayName(f.Name) {
			return
		}
		settings[f.Name] = text
	})
	if c.Sources == nil { // they have given way
		delete(settings, "sources")
	}
	settings["seed"] = fmt.Sprint(c.Seed)
	settings["connections"] = fmt.Sprint(c.Connections)
	settings["warmup"] = c.Warmup.String()
	settings["duration"] = c.Duration.String()
	if c.Duration == 0 { // it bounds nothing
		delete(settings, "duration")
	}
	return settings
}

// mayName tells whether a flag that nobody has given could be given, with the value that it has.
func (w *Workload) mayName(flag string) bool {
	if w.set(flag) {
		return true
	}
	w.presets[flag] = true
	defer delete(w.presets, flag)
	return w.Check() == nil
}

// Each flag has a range of its own (package values). These bound what several make together: a
// run would need more memory, or more processes, than a machine has.
const (
	// mostConnections is more than a machine has memory for.
	mostConnections = 16 << 20
	// mostProcesses bounds the clients that share a run; each has event loops and histograms, and
	// a server beside it.
	mostProcesses = 64
	// mostPairs bounds the pairs of a source and a target, of which each loop has a table.
	mostPairs = 1 << 20
	// mostPipelined bounds the requests that are sent at once, in bytes.
	mostPipelined = values.MaxMessage
)

// checkPorts refuses named ports that are fewer than the processes of the server.
func (w *Workload) checkPorts(plan *stage.Plan) error {
	n := plan.CrewSize()
	if len(w.ports) == 0 || n == 1 || len(w.ports) >= n {
		return nil
	}
	flag, value := "ports", w.text("ports")
	if !w.flags.Changed(flag) {
		flag, value = "connections", w.text("connections")
	}
	return misuse(flag, "%s: %d server processes are needed for %d connections, with a port each, and %d are named: name as many, or none",
		value, n, plan.Client.Connections, len(w.ports))
}

func (w *Workload) checkPipeline(plan *stage.Plan) error {
	each := len(plan.Client.Lifecycle.Again)
	if !plan.Client.Lifecycle.Pipeline || w.exchanges*each <= mostPipelined {
		return nil
	}
	return misuse("pipeline", " sends %d requests of %d bytes at once, and %d bytes in all are the most: make --exchanges or --request-size smaller",
		w.exchanges, each, mostPipelined)
}

func (w *Workload) checkProcesses(plan *stage.Plan) error {
	n, flag := plan.CrewSize(), "connections"
	if n <= mostProcesses {
		return nil
	}
	if plan.Client.Burst > 0 && !w.set(flag) {
		flag = "burst"
	}
	return misuse(flag, " %d: this takes %d processes of %d descriptors each, and %d are the most: make it smaller, or raise the hard limit of descriptors (ulimit -Hn)",
		plan.Client.Connections, n, stage.MostConnections()+stage.SpareDescriptors, mostProcesses)
}

func (w *Workload) checkPairs(plan *stage.Plan) error {
	sources, targets := len(plan.Client.Sources), len(plan.Client.Targets)+len(w.ports)
	if sources*targets <= mostPairs {
		return nil
	}
	return misuse("sources", " are %d addresses towards %d targets, which makes more than %d pairs: name fewer, each pair has thousands of ports",
		sources, targets, mostPairs)
}
