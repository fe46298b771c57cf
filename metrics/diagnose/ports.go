package diagnose

import (
	"fmt"
	"net/netip"

	"tcpbench/metrics"
)

// The names of findings. Forecasts use some of them too.
const (
	PortsExhausted = "ports-exhausted"
	TimeWaitTable  = "time-wait-table-full"
	AcceptQueue    = "accept-queue-overflow"
	SYNQueue       = "syn-queue-full"
	Assassinated   = "time-wait-assassinated"
	PortSearch     = "port-search-cliff"
	Resets         = "resets"
	Descriptors    = "descriptors"
	Memory         = "memory"
)

// timeToExhaustion is evidence of a forecast and of what happened.
const timeToExhaustion = "time_to_exhaustion"

const portsMechanism = "Between one source address and one destination, connections can differ only by the local port. " +
	"The side that closes first keeps its port in TIME_WAIT for 60 s (TCP_TIMEWAIT_LEN; RFC 9293, section 3.6.1), so P ports allow " +
	"P/60 connections per second in the long run. If none is free, connect() fails with EADDRNOTAVAIL (__inet_hash_connect)."

// moreSources is the remedy of more four-tuple spaces. On loopback every address of 127.0.0.0/8 exists
// already.
func moreSources(loopback bool) metrics.Remedy {
	if loopback {
		return metrics.Remedy{
			Do:   "more source addresses, as in --sources 127.0.0.2-127.0.0.65, or destination ports: each pair has the whole range",
			Cost: "some servers accept only 127.0.0.1 (Redis in protected mode)",
		}
	}
	return metrics.Remedy{
		Do:   "more source addresses or destination ports (--sources, --ports): each pair has the whole range",
		Cost: "addresses to configure, or a server that listens on several ports",
	}
}

// loopback tells whether all targets of a run are IPv4 loopback addresses.
func loopback(r *metrics.Result) bool {
	for _, t := range r.Scenario.Target {
		if a, err := netip.ParseAddrPort(t); err != nil || !a.Addr().Unmap().Is4() || !a.Addr().IsLoopback() {
			return false
		}
	}
	return len(r.Scenario.Target) > 0
}

func portsRemedies(loopback bool) []metrics.Remedy {
	return []metrics.Remedy{
		{Do: "let connections live longer (pools, keep-alive): fewer are opened", Cost: "a change of the application"},
		moreSources(loopback),
		{Do: `sysctl -w net.ipv4.ip_local_port_range="1024 65535"`, Cost: "2.3 times as many at best; a service that starts later may find its port taken (net.ipv4.ip_local_reserved_ports)"},
		{Do: "sysctl -w net.ipv4.tcp_tw_reuse=1: connect() takes over a port whose TIME_WAIT is older than a second", Cost: "needs TCP timestamps on both sides, by which late segments are told apart (RFC 6191)"},
		{Do: "let the server close first", Cost: "TIME_WAIT then fills the server's memory, 0.2 to 0.3 KB for each"},
	}
}

// portsExhausted: connect() found no free four-tuple.
func portsExhausted(r *metrics.Result) *metrics.Finding {
	n := r.Failed[metrics.FailureName(metrics.StageConnect, metrics.PortsExhausted)] +
		r.Failed[metrics.FailureName(metrics.StageSocket, metrics.PortsExhausted)]
	if n == 0 && r.Exhaustion == nil {
		return nil
	}
	f := &metrics.Finding{Name: PortsExhausted, Mechanism: portsMechanism, Remedies: portsRemedies(loopback(r))}
	f.What = "The client ran out of ports"
	if e := r.Exhaustion; e != nil {
		at := float64(e.AtNS) / 1e9
		from, when := "", "in the warm-up"
		if e.Source != "" {
			from = " from " + e.Source
		}
		if at >= 0 {
			when = seconds(at) + " after the start"
			f.Evidence = append(f.Evidence, metrics.Value{Name: timeToExhaustion, Value: at, Unit: "s"})
		}
		f.What += fmt.Sprintf("%s to %s, first %s", from, e.Target, when)
	}
	if e := r.Exhaustion; e != nil && e.Ports > 0 {
		f.What += fmt.Sprintf(": of its %s ports %s were in TIME_WAIT and %s in use", number(e.Ports), number(e.TimeWait), number(e.InUse))
		f.Evidence = append(f.Evidence, count("ports", uint64(e.Ports)), count("ports in TIME_WAIT", uint64(e.TimeWait)), count("ports in use", uint64(e.InUse)))
	}
	f.What += "."
	f.Evidence = append(f.Evidence, count("failed.ports_exhausted", n))
	if spells, ok := r.Histograms[metrics.Exhausted]; ok && spells.Count > 0 {
		f.Evidence = append(f.Evidence, metrics.Value{Name: "longest spell without a port", Value: float64(spells.Max) / 1e9, Unit: "s"})
		f.What += fmt.Sprintf(" The longest spell without a free one was %s.", seconds(float64(spells.Max)/1e9))
	}
	if p := r.Predicted(PortsExhausted); p != nil {
		if at, ok := p.Of(timeToExhaustion); ok {
			f.Evidence = append(f.Evidence, metrics.Value{Name: "predicted", Value: at, Unit: "s"})
			f.What += fmt.Sprintf(" The forecast was %s after the first connection.", seconds(at))
		}
	}
	return f
}

// searchFactor is by how much the median of connect() must grow for a finding.
const searchFactor = 5

// portSearch: connect() got slow once half of the range was taken.
func portSearch(r *metrics.Result) *metrics.Finding {
	upper, ok := r.Histograms[metrics.ConnectCallUpper]
	if !ok || upper.Count < 100 {
		return nil
	}
	all, err1 := r.Histograms[metrics.ConnectCall].Recorder()
	part, err2 := upper.Recorder()
	if err1 != nil || err2 != nil {
		return nil
	}
	lower := all.Without(part)
	if lower.Count() < 100 || upper.P50 < searchFactor*lower.Quantile(.5) {
		return nil
	}
	before, after := float64(lower.Quantile(.5)), float64(upper.P50)
	f := &metrics.Finding{
		Name: PortSearch,
		What: fmt.Sprintf("The median of connect() was %.3g µs while less than half of the local ports were taken, and %.3g µs from then on.", before/1e3, after/1e3),
		Evidence: []metrics.Value{
			{Name: "connect_call.p50 below half", Value: before, Unit: "ns"},
			{Name: "connect_call_upper.p50", Value: after, Unit: "ns"},
			count("connects above half", uint64(upper.Count)),
		},
		Mechanism: "connect() tries every second port of the range from a random start, and looks up each in the table of connections " +
			"(__inet_hash_connect). It uses up ports of one parity first, so once half of the range is taken most lookups find a port in use.",
		Remedies: []metrics.Remedy{
			{Do: "the socket option IP_LOCAL_PORT_RANGE (--local-ports), even with the same range", Cost: "Linux 6.3; the application sets it on each socket"},
			{Do: "bind() each port explicitly (--local-ports with --explicit-ports)", Cost: "the application keeps its own table of ports"},
			moreSources(loopback(r)),
		},
	}
	return f
}

// timeWaitTable: sockets skipped TIME_WAIT because its table was full.
func timeWaitTable(r *metrics.Result) *metrics.Finding {
	seen := evidence(r, "TcpExt.TCPTimeWaitOverflow")
	if seen == nil {
		return nil
	}
	limit := r.Host.Sysctls["net.ipv4.tcp_max_tw_buckets"]
	return &metrics.Finding{
		Name:     TimeWaitTable,
		What:     fmt.Sprintf("%s sockets closed without TIME_WAIT, because net.ipv4.tcp_max_tw_buckets (%s) was reached.", number(int64(seen[0].Value)), limit),
		Evidence: seen,
		Mechanism: "If the namespace has as many as that, a socket that should enter TIME_WAIT closes at once (tcp_time_wait). A peer that still " +
			"sends gets a RST, and a late segment may meet a new connection on the same ports (RFC 1337).",
		Remedies: timeWaitTableRemedies(),
	}
}

func timeWaitTableRemedies() []metrics.Remedy {
	return []metrics.Remedy{
		{Do: "raise net.ipv4.tcp_max_tw_buckets", Cost: "0.2 to 0.3 KB of kernel memory for each"},
		{Do: "let connections live longer, or the other side close first", Cost: "a change of the application"},
	}
}

// nothingEndsInOrder: the run was too short for TIME_WAIT or FIN_WAIT_2 to expire, and no SYN took over
// a TIME_WAIT of the server's, which no counter shows (tcp_timewait_state_process).
func nothingEndsInOrder(r *metrics.Result) bool {
	longest := 55.0 // seconds
	if fin, ok := number64(r.Host.Sysctls["net.ipv4.tcp_fin_timeout"]); ok {
		longest = min(longest, 0.9*float64(fin))
	}
	for i := range r.Kernel {
		v := &r.Kernel[i]
		n := len(v.Timeline.T)
		if waits, _ := v.Peak("server", "TIME_WAIT"); waits > 0 || n > 0 && v.Timeline.T[n-1]-v.Timeline.T[0] > longest {
			return false
		}
	}
	return r.Host.Sysctls["net.ipv4.tcp_rfc1337"] == "0"
}

// assassinated: TIME_WAIT that a RST ended early. The kernel does not count these. They are those that
// were created, not taken over by connect(), and are gone.
func assassinated(r *metrics.Result) *metrics.Finding {
	for _, v := range r.Kernel {
		left := v.Timeline.Sockets["tw"]
		n := len(left)
		if n < 2 {
			continue
		}
		created, reused := v.Counters["TcpExt"]["TW"], v.Counters["TcpExt"]["TWRecycled"]
		missing := created - reused - left[n-1]
		if missing < 10 || float64(missing) < 0.01*float64(created) {
			continue
		}
		return &metrics.Finding{
			Name: Assassinated,
			What: fmt.Sprintf("A RST ended TIME_WAIT early for at least %s of %s sockets.", number(missing), number(created)),
			Evidence: []metrics.Value{
				{Name: "TcpExt.TW", Value: float64(created)}, {Name: "TcpExt.TWRecycled", Value: float64(reused)},
				{Name: "in TIME_WAIT at the end", Value: float64(left[n-1])},
			},
			Mechanism: "TIME_WAIT exists to outlive late segments, but a RST ends it (tcp_timewait_state_process). A late ACK causes one: TIME_WAIT " +
				"answers it with an ACK, and if the peer has no such socket any more, it answers that with a RST (RFC 1337, section 2).",
			Remedies: []metrics.Remedy{{Do: "sysctl -w net.ipv4.tcp_rfc1337=1: RSTs in TIME_WAIT are ignored", Cost: "ports stay taken for the whole minute"}},
		}
	}
	return nil
}
