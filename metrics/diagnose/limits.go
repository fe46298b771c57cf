package diagnose

import (
	"fmt"
	"maps"
	"slices"

	"tcpbench/metrics"
)

// The shares of all processors from which a finding is made.
const (
	stealShare   = 0.02
	softirqShare = 0.30
)

// descriptorsExhausted: a process or the system had no file descriptor left.
func descriptorsExhausted(r *metrics.Result) *metrics.Finding {
	n := failed(r, metrics.DescriptorsExceeded)
	if n == 0 {
		return nil
	}
	return &metrics.Finding{
		Name:      Descriptors,
		What:      fmt.Sprintf("%s attempts found no free file descriptor; a process here may have %s.", number(n), r.Host.Limits["nofile_hard"]),
		Evidence:  evidence(r, "failed.descriptors"),
		Mechanism: "socket() fails with EMFILE at the process's RLIMIT_NOFILE, and with ENFILE at the system's fs.file-max.",
		Remedies:  descriptorRemedies(),
	}
}

func descriptorRemedies() []metrics.Remedy {
	return []metrics.Remedy{
		{Do: "raise the hard limit: ulimit -Hn, LimitNOFILE= of systemd, --ulimit nofile of the container; and fs.file-max", Cost: "about 1 KB of kernel memory for each open one"},
		{Do: "fewer --connections at once", Cost: "none"},
	}
}

// memoryShort: the kernel was out of memory for sockets.
func memoryShort(r *metrics.Result) *metrics.Finding {
	n := failed(r, metrics.NoBuffers)
	seen := evidence(r, "TcpExt.TCPAbortOnMemory", "TcpExt.TCPMemoryPressures", "TcpExt.PruneCalled", "TcpExt.TCPRcvQDrop", "failed.no_buffers")
	if n == 0 && r.Counter("TcpExt", "TCPAbortOnMemory")+r.Counter("TcpExt", "TCPMemoryPressures") == 0 {
		return nil
	}
	return &metrics.Finding{
		Name:     Memory,
		What:     "The kernel ran short of memory for TCP.",
		Evidence: seen,
		Mechanism: "Above the second number of net.ipv4.tcp_mem (in pages, over all namespaces) the kernel shrinks buffers. Above the third " +
			"it allocates none and resets orphans (tcp_check_oom), as it does above net.ipv4.tcp_max_orphans.",
		Remedies: []metrics.Remedy{
			{Do: "raise net.ipv4.tcp_mem and net.ipv4.tcp_max_orphans", Cost: "memory that nothing else can have"},
			{Do: "smaller buffers: net.ipv4.tcp_rmem and tcp_wmem", Cost: "less throughput on long paths"},
		},
	}
}

// resets: connections were reset.
func resets(r *metrics.Result) *metrics.Finding {
	n := failed(r, metrics.Reset) - untoldRefusals(r)
	if n == 0 {
		return nil
	}
	f := &metrics.Finding{
		Name: Resets,
		What: fmt.Sprintf("%s connections were reset by the other side", number(n)),
		Evidence: append([]metrics.Value{count("failed.reset", n)}, evidence(r, "Tcp.OutRsts", "Tcp.EstabResets", "TcpExt.TCPAbortOnData",
			"TcpExt.TCPAbortOnClose", "TcpExt.TCPAbortOnMemory", "TcpExt.TCPAbortOnTimeout")...),
		Mechanism: "A RST means that the sender has no such connection any more: its application closed with data unread or with " +
			"SO_LINGER 0, its process died, or its kernel gave up.",
	}
	for _, v := range r.Kernel {
		if v.Trace == nil {
			continue
		}
		for _, who := range slices.Sorted(maps.Keys(v.Trace.ResetsSent)) {
			f.Evidence = append(f.Evidence, count("RST by the "+who, v.Trace.ResetsSent[who]))
		}
	}
	switch {
	case where(r, "net.ipv4.tcp_abort_on_overflow") == "1" && dropped(r) > 0:
		f.What += ": by its kernel, whose accept queue was full (net.ipv4.tcp_abort_on_overflow=1)."
		f.Remedies = []metrics.Remedy{{Do: "sysctl -w net.ipv4.tcp_abort_on_overflow=0, and accept faster", Cost: "clients wait for their SYN or data to be sent again, instead of failing"}}
	case 2*r.Counter("TcpExt", "TCPAbortOnClose") >= int64(n): // a few belong to others
		f.What += ": an application in this namespace closed with data unread."
		f.Remedies = []metrics.Remedy{{Do: "read to the end before close(), or shutdown() first and read until the peer's FIN", Cost: "the closing side waits"}}
	case r.Flagged("server-lost"):
		f.What += ": the server ended."
		f.Remedies = []metrics.Remedy{{Do: "find out why the server ended", Cost: "none"}}
	case r.Counter("Tcp", "OutRsts") == 0 && len(r.Kernel) > 0:
		f.What += ", which is outside of this network namespace: its kernel sent no RST."
		f.Remedies = []metrics.Remedy{{Do: "look at the server, and at what stands on the way (proxies, packet filters)", Cost: "none"}}
	default:
		f.What += "."
		f.Remedies = []metrics.Remedy{{Do: "check that the server runs and understands the request: its log, and TcpExt TCPAbortOn… there", Cost: "none"}}
	}
	return f
}

// clientLimited and serverLimited: one side was the bottleneck.
func clientLimited(r *metrics.Result) *metrics.Finding {
	if !r.Flagged("client-limited") {
		return nil
	}
	return &metrics.Finding{
		Name:      "client-limited",
		What:      "The client set the rate: its threads were busy all the time, while processors were idle.",
		Evidence:  busyEvidence(r),
		Mechanism: "One thread drives one event loop, so the server could do more than these threads ask for.",
		Remedies: []metrics.Remedy{
			{Do: "more --threads, up to the number of processors", Cost: "less of the machine for a server on it"},
			{Do: "more client machines", Cost: "machines"},
		},
	}
}

func serverLimited(r *metrics.Result) *metrics.Finding {
	if !r.Flagged("server-limited") {
		return nil
	}
	return &metrics.Finding{
		Name:      "server-limited",
		What:      "The server set the rate: its loops used up their processors, while others were idle.",
		Evidence:  busyEvidence(r),
		Mechanism: "One loop accepts, reads and closes on one processor, and the kernel's work for these connections runs there too.",
		Remedies:  []metrics.Remedy{{Do: "more --server-loops, up to the number of processors", Cost: "less of the machine for a client on it"}},
	}
}

func busyEvidence(r *metrics.Result) []metrics.Value {
	all := evidence(r, "cpu.busy")
	for name, u := range map[string]*metrics.Usage{"client": r.CPU.Client, "server": r.CPU.Server} {
		if u != nil && r.ElapsedS > 0 && r.Flagged(name+"-limited") {
			all = append(all, metrics.Value{Name: name + " processors", Value: (u.UserS + u.SystemS) / r.ElapsedS})
		}
	}
	return all
}

// stolen: the hypervisor took processors away.
func stolen(r *metrics.Result) *metrics.Finding {
	if r.CPU.HostSteal < stealShare {
		return nil
	}
	return &metrics.Finding{
		Name:      "steal",
		What:      fmt.Sprintf("The hypervisor took %.1f %% of the processors' time away.", 100*r.CPU.HostSteal),
		Evidence:  evidence(r, "cpu.steal"),
		Mechanism: "Virtual processors wait for real ones, and every latency includes that time.",
		Remedies:  []metrics.Remedy{{Do: "use a machine with dedicated processors, or another hour; compare only interleaved runs", Cost: "money, or time"}},
	}
}

// receivePath: the receive path could not keep up.
func receivePath(r *metrics.Result) *metrics.Finding {
	var dropped, squeezed int64
	remote := false // on one machine soft interrupts do the work of both sides
	for _, v := range r.Kernel {
		remote = remote || v.Of == "client" && len(r.Kernel) == 1
		// Each namespace has the numbers of the whole machine.
		dropped, squeezed = max(dropped, v.Softnet.Dropped), max(squeezed, v.Softnet.Squeezed)
	}
	if dropped == 0 && (!remote || r.CPU.HostSoftIRQ < softirqShare) {
		return nil
	}
	f := &metrics.Finding{
		Name: "receive-path",
		Evidence: append([]metrics.Value{
			{Name: "softnet dropped", Value: float64(dropped)}, {Name: "softnet squeezed", Value: float64(squeezed)},
		}, evidence(r, "cpu.softirq")...),
		Mechanism: "Packets wait in a queue of each processor until its soft interrupt takes them (net_rx_action), at most " +
			"net.core.netdev_max_backlog of them; further ones are dropped (enqueue_to_backlog).",
		Remedies: []metrics.Remedy{
			{Do: "sysctl -w net.core.netdev_max_backlog=10000, of the whole machine", Cost: "packets wait longer"},
			{Do: "spread the load: more queues of the network card (ethtool -L), or RPS", Cost: "caches miss more often"},
		},
	}
	f.What = fmt.Sprintf("Soft interrupts took %.0f %% of all processors.", 100*r.CPU.HostSoftIRQ)
	if dropped > 0 {
		f.What = fmt.Sprintf("The receive path of this machine dropped %s packets, because a processor's backlog was full.", number(dropped))
	}
	return f
}

// noisy: others used the machine.
func noisy(r *metrics.Result) *metrics.Finding {
	for _, flag := range r.Flags {
		if flag.Name == "noisy-host" && r.CPU.HostSteal < stealShare {
			return &metrics.Finding{
				Name: "noisy-host", What: flag.Why,
				Evidence:  evidence(r, "cpu.busy"),
				Mechanism: "Others on the machine take processors and caches, so numbers are worse and not repeatable.",
				Remedies:  []metrics.Remedy{{Do: "find them (top), and run again when they are quiet", Cost: "time"}},
			}
		}
	}
	return nil
}
