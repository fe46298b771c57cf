package diagnose

import (
	"slices"
	"strings"

	"tcpbench/metrics"
)

const (
	// shortest is the time in seconds from which shares of processors say something: the kernel
	// counts them in hundredths of a second.
	shortest = 0.2
	// full is the share of all processors from which none is idle.
	full = 0.95
)

func always(*metrics.Result) bool { return true }

// listened are the views of the namespaces in which the run's servers listen. Listening sockets in
// the client's namespace are others' if the server is elsewhere.
func listened(r *metrics.Result) (all []metrics.Namespace) {
	for _, v := range r.Kernel {
		if v.Of != "client" {
			all = append(all, v)
		}
	}
	return all
}

// here is by how much a counter moved where the run's servers listen: "TcpExt ListenDrops".
func here(r *metrics.Result, name string) (n int64) {
	group, counter, _ := strings.Cut(name, " ")
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

// where is the value of a setting in the namespace in which the run's servers listen, empty if it
// is not known.
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
		return "" // the client's is no default
	}
	return r.Host.Sysctls[key] // of the client, which has the kernel's default too
}

// measuredExhaustion: connections of the measured time were without a port, not of the warm-up only.
func measuredExhaustion(r *metrics.Result) bool {
	return failed(r, metrics.PortsExhausted) > 0 || r.Histograms[metrics.Exhausted].Count > 0
}

// queueWasFull: cookies are sent without end if net.ipv4.tcp_syncookies is 2, and count as those of
// a full queue (tcp_syn_flood_action).
func queueWasFull(r *metrics.Result) bool {
	return where(r, "net.ipv4.tcp_syncookies") != "2"
}

// tableWasFull: TIME_WAIT came near its limit. The kernel counts one that it had no memory for as an
// overflow too (inet_twsk_alloc).
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

// chosenByConnect: connect() looks for the port itself.
func chosenByConnect(r *metrics.Result) bool {
	return r.Scenario.Settings["explicit-ports"] != "true"
}

// idleLeft: some processor had nothing to do, so one side can have been the limit.
func idleLeft(r *metrics.Result) bool { return r.Succeeded > 0 && r.CPU.HostBusy < full }

// longEnough: shares of processors say something.
func longEnough(r *metrics.Result) bool { return r.ElapsedS >= shortest }
