package diagnose

import (
	"slices"
	"strings"

	"tcpbench/metrics"
)

const (
	// shortest is the shortest run in seconds whose processor shares mean something: the kernel counts
	// hundredths of a second.
	shortest = 0.2
	full     = 0.95 // the share of all processors from which none counts as idle
)

func always(*metrics.Result) bool { return true }

// listened are the namespaces in which the run's servers listen. The listening sockets in a client's
// own namespace belong to others.
func listened(r *metrics.Result) (all []metrics.Namespace) {
	for _, v := range r.Kernel {
		if v.Of != "client" {
			all = append(all, v)
		}
	}
	return all
}

// here is by how much a counter moved in the namespaces of the run's servers: "TcpExt.ListenDrops".
func here(r *metrics.Result, name string) (n int64) {
	group, counter, _ := strings.Cut(name, ".")
	for _, v := range listened(r) {
		n += v.Counters[group][counter]
	}
	return n
}

// dropped is how many SYNs and last ACKs the run's own listening sockets dropped.
func dropped(r *metrics.Result) (n int64) {
	for _, v := range listened(r) {
		for _, l := range v.Listeners {
			n += l.Drops
		}
	}
	return n
}

// where is the value of a setting in the namespace of the run's servers, empty if unknown.
func where(r *metrics.Result, key string) string {
	if r.Lab == nil {
		return r.Host.Sysctls[key]
	}
	of := func(h *metrics.LabHost) (value string, ok bool) {
		i := slices.IndexFunc(h.Settings, func(s metrics.LabSetting) bool { return s.Key == key })
		switch {
		case i < 0:
			value, ok = h.Values[key]
		case h.Settings[i].Now != "":
			value, ok = h.Settings[i].Now, true
		case h.Settings[i].Outcome == metrics.Applied:
			value, ok = h.Settings[i].Value, true
		}
		return value, ok
	}
	if value, ok := of(&r.Lab.Server); ok {
		return value
	}
	if _, changed := of(&r.Lab.Client); changed {
		return "" // the client's is not the default
	}
	return r.Host.Sysctls[key] // the client's, which is the kernel's default
}

// measuredExhaustion: ports ran out in the measured time, not only in the warm-up.
func measuredExhaustion(r *metrics.Result) bool {
	return failed(r, metrics.PortsExhausted) > 0 || r.Histograms[metrics.Exhausted].Count > 0
}

// queueWasFull: with net.ipv4.tcp_syncookies=2 every SYN gets a cookie, and counts as one that met a
// full queue (tcp_syn_flood_action).
func queueWasFull(r *metrics.Result) bool {
	return where(r, "net.ipv4.tcp_syncookies") != "2"
}

// tableWasFull: TIME_WAIT came near its limit. The kernel also counts an overflow if it has no memory
// (inet_twsk_alloc).
func tableWasFull(r *metrics.Result) bool {
	const key = "net.ipv4.tcp_max_tw_buckets"
	for _, v := range r.Kernel {
		limit, ok := number64(r.Host.Sysctls[key])
		if v.Of == "server" {
			limit, ok = number64(where(r, key))
		}
		tw := v.Timeline.Sockets["tw"]
		if v.Counters["TcpExt"]["TCPTimeWaitOverflow"] > 0 && (!ok || len(tw) > 0 && 10*slices.Max(tw) >= 9*limit) {
			return true
		}
	}
	return false
}

// chosenByConnect: connect() searches for the port.
func chosenByConnect(r *metrics.Result) bool {
	return r.Scenario.Settings["explicit-ports"] != "true"
}

// idleLeft: some processor was idle, so one side can have been the limit.
func idleLeft(r *metrics.Result) bool { return r.Succeeded > 0 && r.CPU.HostBusy < full }

// longEnough: shares of processors mean something.
func longEnough(r *metrics.Result) bool { return r.ElapsedS >= shortest }
