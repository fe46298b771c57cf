package stage

import (
	"net/netip"
	"slices"

	"tcpbench/internal/wire"
	"tcpbench/loadgen/pace"
	"tcpbench/metrics"
	"tcpbench/metrics/diagnose"
)

// Forecast tells what will go wrong with the plan on a host of these settings.
func (p *Plan) Forecast(h *metrics.Host) []metrics.Finding {
	return diagnose.Forecast(h, p.load(h))
}

// load is what the plan asks of the host.
func (p *Plan) load(h *metrics.Host) diagnose.Load {
	c := &p.Client
	l := diagnose.Load{
		Open: c.Connections, Count: c.Count, Duration: c.Warmup + c.Duration,
		Ports: p.rangeSize(h), PerProcess: MostConnections(), Own: p.Server != nil,
	}
	if !c.Options.FixedPorts {
		l.Chosen = c.Options.PortRange
	}
	l.Message = max(int64(len(c.Lifecycle.Request)), c.Lifecycle.Response.Bytes)
	targets := c.Targets
	if p.Server != nil {
		targets = p.Server.Addrs
		crew := p.CrewSize()
		l.Backlog = p.Server.Backlog
		l.Queues = p.Server.Loops * len(targets)
		if crew > 1 {
			l.Queues = crew // each has one loop, and an address at least
		}
		if len(targets) == 1 && targets[0].Port() == 0 { // each process chooses one
			targets = slices.Repeat(targets, crew)
		}
	}
	l.Spaces = p.spacesOf(targets)
	l.Loopback = allLoopback(targets)
	l.Loopback4 = LoopbackSources(targets) != nil
	fin := c.Lifecycle.CloseHow != wire.RST
	l.ClientWaits = fin && (c.Lifecycle.CloseBy == wire.Client || c.Lifecycle.CloseBy == wire.Both)
	l.ServerWaits = fin && c.Lifecycle.CloseBy == wire.Server && (p.Server != nil || local(targets))
	switch c.Process {
	case pace.Constant, pace.Poisson:
		l.Rate, l.Open = c.Profile.Mean(l.Duration), 0
	case pace.Bursts:
		l.Burst, l.Open = c.Burst, min(c.Burst, c.Connections)
		l.Count = uint64(c.Burst)
		if c.Every > 0 {
			l.Rate, l.Count = float64(c.Burst)/c.Every.Seconds(), c.Count
		}
	case pace.Hold:
		l.Count, l.Duration = uint64(c.Connections), 0
	default:
		l.Rate = c.OpenRate.PerSecond()
	}
	if l.Count > 0 && c.Duration == 0 {
		l.Duration = 0
	}
	return l
}

// spacesOf is the number of pairs of a source and a destination. Where the kernel chooses
// the source there is one to each.
func (p *Plan) spacesOf(targets []netip.AddrPort) int {
	sources := p.Client.Sources
	if sources == nil {
		sources = p.sources(targets)
	}
	if sources == nil {
		return len(targets)
	}
	var to, from [2]int // of each family
	for _, t := range targets {
		to[family(t.Addr())]++
	}
	for _, s := range sources {
		from[family(s)]++
	}
	return to[0]*from[0] + to[1]*from[1]
}

// family is 0 of an address of IPv4, and 1 of one of IPv6.
func family(a netip.Addr) int {
	if a.Unmap().Is4() {
		return 0
	}
	return 1
}

func allLoopback(targets []netip.AddrPort) bool {
	for _, t := range targets {
		if !t.Addr().Unmap().IsLoopback() {
			return false
		}
	}
	return true
}
