package stage

import (
	"errors"
	"net/netip"
	"slices"

	"tcpbench/internal/kernel"
	"tcpbench/internal/kernel/sockdiag"
	"tcpbench/internal/kernel/sysinfo"
	"tcpbench/internal/kernel/trace"
	"tcpbench/internal/lab"
	"tcpbench/internal/namespace"
	"tcpbench/loadgen/pace"
	"tcpbench/metrics"
)

// Side is an end of the run.
type Side string

const (
	Client Side = "client"
	Server Side = "server"
	Both   Side = "both" // if they share a namespace
)

// host returns the host of the lab on which a side lives; nil without a lab.
func (p *Plan) host(of Side) *lab.Host {
	switch {
	case p.Lab == nil:
		return nil
	case of == Server:
		return p.Lab.Server
	}
	return p.Lab.Client
}

// at returns a function that takes a thread to the namespace of a side; nil if all threads are there.
func (p *Plan) at(of Side) func() error {
	if h := p.host(of); h != nil {
		return h.Enter
	}
	return nil
}

// do calls f on a thread in the namespace of a side.
func (p *Plan) do(of Side, f func() error) error {
	if h := p.host(of); h != nil {
		return h.Do(f)
	}
	return f()
}

// settleIn gives the run's own server its address in the lab.
func (p *Plan) settleIn() error {
	if p.Lab == nil || p.Server == nil {
		return nil
	}
	p.Server.Addrs = slices.Clone(p.Server.Addrs)
	for i, a := range p.Server.Addrs {
		switch {
		case !a.Addr().IsLoopback(): // of an earlier phase
		case a.Addr().Is4():
			p.Server.Addrs[i] = netip.AddrPortFrom(p.Lab.Server.V4, a.Port())
		case !p.Lab.Server.V6.IsValid():
			return errNoV6
		default:
			p.Server.Addrs[i] = netip.AddrPortFrom(p.Lab.Server.V6, a.Port())
		}
	}
	return nil
}

var errNoV6 = errors.New("the hosts of the lab have no IPv6 address: this kernel has no IPv6, or disables it (ipv6.disable, net.ipv6.conf.default.disable_ipv6); leave --ipv6 out, or enable it")

// foreign reports whether the target is no tcpbench server.
func (p *Plan) foreign() bool { return p.Server == nil && !p.Scripted }

// sources returns the source addresses that a run has by default: many if they cost nothing. A
// foreign server, such as Redis, may refuse clients that do not come from 127.0.0.1.
func (p *Plan) sources(targets []netip.AddrPort) pace.Sources {
	if p.foreign() {
		return nil
	}
	if p.Lab == nil {
		return LoopbackSources(targets)
	}
	for _, t := range targets {
		if !t.Addr().Unmap().Is4() {
			return nil
		}
	}
	return pace.Sources(p.Lab.Client.Sources)
}

// local reports whether client and server share this machine.
func (p *Plan) local() bool { return p.Lab != nil || local(p.Client.Targets) }

// describeHost describes the machine, with the settings of the client's namespace.
func (p *Plan) describeHost() (h metrics.Host, err error) {
	err = p.do(Client, func() error {
		h = sysinfo.Host()
		return nil
	})
	return h, err
}

// trace starts to ask the kernel's tracepoints, as far as it allows, about connections to these
// ports in the namespaces of the run.
func (p *Plan) trace(ports []sockdiag.Ports) (*trace.Tracer, error) {
	var namespaces []uint32
	for _, side := range p.namespaces() {
		err := p.do(side, func() error {
			inode, err := namespace.Inode()
			namespaces = append(namespaces, inode)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return trace.Start(namespaces, ports)
}

// counters are those of all namespaces of the run.
type counters []kernel.Counters

// namespaces returns the sides that have a network namespace of their own.
func (p *Plan) namespaces() []Side {
	if p.Lab == nil {
		return []Side{Client}
	}
	return []Side{Client, Server}
}

// readCounters reads the counters of the client's namespace, and of the server's if that is another.
func (p *Plan) readCounters() (all counters, err error) {
	for _, s := range p.namespaces() {
		err := p.do(s, func() error {
			c, err := kernel.ReadCounters()
			all = append(all, c)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// since returns by how much the counters have moved, all namespaces together.
func (c counters) since(before counters) kernel.Moved {
	sum := kernel.Moved{}
	for i := range c {
		for group, names := range c[i].Sub(before[i]) {
			if sum[group] == nil {
				sum[group] = map[string]int64{}
			}
			for name, n := range names {
				sum[group][name] += n
			}
		}
	}
	return sum
}
