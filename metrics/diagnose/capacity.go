package diagnose

import (
	"fmt"

	"tcpbench/metrics"
)

// Capacity is what a host's settings allow.
type Capacity struct {
	What  string  `json:"what"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit,omitempty"`
	From  string  `json:"from"` // the settings, and the arithmetic
}

// Capacities computes what a host's settings allow, as far as they are known.
func Capacities(h *metrics.Host) []Capacity {
	var all []Capacity
	add := func(what string, value float64, unit, format string, args ...any) {
		all = append(all, Capacity{what, value, unit, fmt.Sprintf(format, args...)})
	}
	if n := h.LocalPorts(); n > 0 {
		ports := "net.ipv4.ip_local_port_range = " + h.Sysctls["net.ipv4.ip_local_port_range"]
		all := metrics.Host{Sysctls: map[string]string{"net.ipv4.ip_local_port_range": h.Sysctls["net.ipv4.ip_local_port_range"]}}
		if taken := all.LocalPorts() - n; taken > 0 {
			ports += fmt.Sprintf(", less %s reserved or listened on", number(taken))
		}
		add("connections at once from one address to one destination", float64(n), "", "%s", ports)
		for _, loopback := range []bool{false, true} {
			where := "to another host"
			if loopback {
				where = "over loopback"
			}
			wait, reuse := cycle(h, loopback)
			if wait == 0 {
				continue
			}
			why := "TIME_WAIT of 60 s"
			if reuse {
				why = fmt.Sprintf("net.ipv4.tcp_tw_reuse = %s, after %g s", h.Sysctls["net.ipv4.tcp_tw_reuse"], wait)
			}
			add("… opened and closed by the client "+where, float64(n)/wait, "1/s", "%s ports ÷ %s", number(n), why)
		}
	}
	if n, ok := sysctl(h, "net.ipv4.tcp_max_tw_buckets", 0); ok {
		add("sockets in TIME_WAIT", float64(n), "", "net.ipv4.tcp_max_tw_buckets")
		add("closes whose TIME_WAIT is kept in full", float64(n)/timeWaitS, "1/s", "%s ÷ 60 s", number(n))
	}
	if n, ok := effectiveBacklog(h, 0); ok {
		add("connections that wait for accept() in one listening socket", float64(n+1), "", "net.core.somaxconn = %d, where listen() asks for as many", n)
	}
	if cookies, ok := sysctl(h, "net.ipv4.tcp_syncookies", 0); ok && cookies == 0 {
		if n, ok := sysctl(h, "net.ipv4.tcp_max_syn_backlog", 0); ok {
			add("half-open connections of one listening socket, for new peers", float64(n-n>>2), "", "three quarters of net.ipv4.tcp_max_syn_backlog = %d, as net.ipv4.tcp_syncookies = 0", n)
		}
	}
	if n, ok := sysctl(h, "fs.file-max", 0); ok && n < 1<<40 {
		add("open files of the system", float64(n), "", "fs.file-max")
	}
	if h.MemoryByte > 0 {
		add("idle connections, both ends here, in all memory", float64(h.MemoryByte)/pairMemory, "", "%.3g GiB ÷ 10.4 KB", float64(h.MemoryByte)/(1<<30))
	}
	if n, ok := sysctl(h, "net.ipv4.tcp_mem", 2); ok {
		add("memory for TCP's buffers", float64(n)*4096, "B", "net.ipv4.tcp_mem, third number, in pages of 4 KiB")
	}
	if n, ok := sysctl(h, "net.netfilter.nf_conntrack_max", 0); ok {
		add("tracked connections", float64(n), "", "net.netfilter.nf_conntrack_max")
	}
	return all
}

// Traps finds settings that make a measurement on this host differ from one on the host that it is
// meant for.
func Traps(h *metrics.Host) []metrics.Finding {
	var all []metrics.Finding
	for _, t := range traps {
		if h.Sysctls[t.key] != fmt.Sprint(t.value) {
			continue
		}
		if _, reuse := cycle(h, true); t.name == loopbackReuse && !reuse {
			continue // it needs timestamps
		}
		all = append(all, metrics.Finding{
			Name: t.name, What: t.what, Mechanism: t.mechanism,
			Evidence: []metrics.Value{{Name: t.key, Value: float64(t.value)}}, Remedies: []metrics.Remedy{t.remedy},
		})
	}
	// The load average is of the last minute, so it is no forecast of a run. The result says how noisy
	// the host was.
	if h.CPUs > 0 && h.Load[0] >= float64(h.CPUs) {
		all = append(all, metrics.Finding{
			Name:      "busy-host",
			What:      fmt.Sprintf("%.1f processes wanted one of %d processors during the last minute.", h.Load[0], h.CPUs),
			Evidence:  []metrics.Value{{Name: "load average", Value: h.Load[0]}},
			Mechanism: "Others on the machine take processors and caches, so numbers are worse and not repeatable.",
			Remedies:  []metrics.Remedy{{Do: "find them (top), and run when they are quiet", Cost: "time"}},
		})
	}
	return all
}

const loopbackReuse = "loopback-reuse"

var traps = []struct {
	name, key       string
	value           int
	what, mechanism string
	remedy          metrics.Remedy
}{
	{
		loopbackReuse, "net.ipv4.tcp_tw_reuse", 2,
		"Over loopback ports do not run out as between hosts: connect() reuses a port after a second of TIME_WAIT.",
		"net.ipv4.tcp_tw_reuse=2, the default since Linux 4.19, allows that only for loopback (tcp_twsk_unique).",
		metrics.Remedy{Do: "to see exhaustion here, run in a lab: tcpbench lab", Cost: "none"},
	},
	{
		"cookies-always", "net.ipv4.tcp_syncookies", 2,
		"The kernel answers every SYN with a cookie, so no SYN queue ever fills.",
		"net.ipv4.tcp_syncookies=2 is meant for tests (tcp_conn_request).",
		metrics.Remedy{Do: "sysctl -w net.ipv4.tcp_syncookies=1", Cost: "none"},
	},
	{
		"abort-on-overflow", "net.ipv4.tcp_abort_on_overflow", 1,
		"A full accept queue resets connections, which otherwise would try again.",
		"If the queue is full, the kernel answers the last ACK of a handshake with a RST (tcp_check_req).",
		metrics.Remedy{Do: "sysctl -w net.ipv4.tcp_abort_on_overflow=0", Cost: "clients wait instead of failing"},
	},
}
