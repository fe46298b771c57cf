package main

import (
	"cmp"
	"strconv"

	"tcpbench/internal/lab"
	"tcpbench/internal/probe"
	"tcpbench/metrics"
	"tcpbench/metrics/report"
	"tcpbench/scenarios"
	"tcpbench/scenarios/stage"
)

// abilities tries what tcpbench can make use of, one after the other.
func (m *prober) abilities(host *metrics.Host) []metrics.Ability {
	var all []metrics.Ability
	var inLab, linked, set []string
	for _, s := range scenarios.Builtins() {
		r := s.Requires()
		if r.Lab {
			inLab = append(inLab, s.Name)
		}
		if r.Link {
			linked = append(linked, s.Name)
		}
		if len(r.Settings) > 0 {
			set = append(set, s.Name)
		}
	}
	for _, a := range []struct {
		name, use string
		q         lab.Question
		scenarios []string
	}{
		{"user namespaces", "labs without root", lab.CanUsers, nil},
		{"network namespaces", "tcpbench lab, tcpbench compare", lab.CanNamespaces, inLab},
		{"packet sockets", "--to-server, --to-client", lab.CanLink, linked},
		{"sysctls of a namespace", "--profile, --set", lab.CanSysctls, set},
		{"packet capture", "--pcap", lab.CanCapture, nil},
		{"sysctls of this machine", "--on-host", lab.CanHost, nil},
	} {
		one := metrics.Ability{Name: a.name, Can: true, For: a.use, Scenarios: a.scenarios}
		if r := m.refuses(a.q); r != nil {
			one.Can, one.Why, one.Lift = false, r.Error(), r.Lift
		}
		all = append(all, one)
	}
	for _, a := range []struct{ name, use, question string }{
		{"BPF tracepoints", "--bpf", canBPF},
		{"IPv6", "--ipv6", canIPv6},
		{"MPTCP", "--mptcp", canMPTCP},
		{"TCP Fast Open", "--fastopen", canFastOpen},
		{"io_uring", "nothing today", canIOUring},
	} {
		one := metrics.Ability{Name: a.name, Can: true, For: a.use}
		if f := probe.Ask(a.question, nil); f != nil {
			r := explained(a.question, f)
			one.Can, one.Why, one.Lift = false, f.Error()+": "+r.because, r.lift
		}
		all = append(all, one)
	}
	return append(all, descriptors(host))
}

// descriptors is how many connections a process may have open.
func descriptors(host *metrics.Host) metrics.Ability {
	one := metrics.Ability{Name: "descriptors", Can: true, For: "--connections: as many in each process"}
	limit := host.Limits["nofile_hard"]
	n, err := strconv.ParseInt(limit, 10, 64)
	if err != nil {
		one.Amount = cmp.Or(limit, "not known")
		return one
	}
	one.Amount = report.Count(n)
	const few = 4096
	if n < few {
		one.Can, one.Why, one.Lift = false, "the hard limit of descriptors is "+report.Count(n), "ulimit -Hn 1048576 as root; in Docker: --ulimit nofile=1048576"
		one.For = "more than " + report.Count(int64(stage.MostConnections())) + " connections in a process"
	}
	return one
}
