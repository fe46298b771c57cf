package compare

import (
	"maps"
	"slices"

	"tcpbench/metrics"
)

// metric is a number of a result.
type metric struct {
	name, unit string
	of         func(*metrics.Result) (value float64, ok bool)
}

// quantile is a metric of a histogram.
func quantile(histogram, name string, of func(metrics.Histogram) int64) metric {
	return metric{histogram + "." + name, metrics.Nanoseconds, func(r *metrics.Result) (float64, bool) {
		h, ok := r.Histograms[histogram]
		return float64(of(h)), ok && h.Count > 0
	}}
}

func p50(h metrics.Histogram) int64  { return h.P50 }
func p99(h metrics.Histogram) int64  { return h.P99 }
func p999(h metrics.Histogram) int64 { return h.P999 }

// perConnection is processor time of a side.
func perConnection(name string, side func(*metrics.Result) *metrics.Usage) metric {
	return metric{"cpu." + name, "us", func(r *metrics.Result) (float64, bool) {
		u := side(r)
		if u == nil || u.PerConnection == 0 {
			return 0, false
		}
		return u.PerConnection, true
	}}
}

// always are the numbers that every table has, where results have them.
var always = []metric{
	{"rate", "1/s", func(r *metrics.Result) (float64, bool) { return r.Rate, r.Population == nil }},
	quantile(metrics.Connect, "p50", p50), quantile(metrics.Connect, "p99", p99), quantile(metrics.Connect, "p999", p999),
	quantile(metrics.ConnectCall, "p50", p50), quantile(metrics.ConnectCall, "p99", p99),
	quantile(metrics.Lifetime, "p50", p50), quantile(metrics.Lifetime, "p99", p99),
	quantile(metrics.Heartbeat, "p50", p50), quantile(metrics.Heartbeat, "p99", p99),
	perConnection("client", func(r *metrics.Result) *metrics.Usage { return r.CPU.Client }),
	perConnection("server", func(r *metrics.Result) *metrics.Usage { return r.CPU.Server }),
	{"time_wait.max", "", timeWaitPeak},
}

// telling are counters of the kernel that say why numbers differ.
var telling = []string{
	"ListenOverflows", "ListenDrops", "TCPTimeWaitOverflow", "TWRecycled", "TCPSynRetrans", "TCPReqQFullDrop", "SyncookiesSent",
}

// timeWaitPeak is the largest number of sockets in TIME_WAIT, of whichever side has more.
func timeWaitPeak(r *metrics.Result) (peak float64, ok bool) {
	for _, v := range r.Kernel {
		for _, n := range v.Timeline.Sockets["tw"] {
			peak, ok = max(peak, float64(n)), true
		}
	}
	return peak, ok
}

// metricsOf lists the numbers in which results can differ: what no result has, and what
// none ever counted, is left out.
func metricsOf(sides []Side) []metric {
	failures := map[string]bool{}
	for _, s := range sides {
		for _, r := range s.Results {
			for name := range r.Failed {
				failures[name] = true
			}
		}
	}
	all := slices.Clone(always)
	for _, name := range slices.Sorted(maps.Keys(failures)) {
		all = append(all, metric{"failed." + name, "", func(r *metrics.Result) (float64, bool) { return float64(r.Failed[name]), true }})
	}
	for _, name := range telling {
		all = append(all, metric{"TcpExt " + name, "", func(r *metrics.Result) (float64, bool) {
			return float64(r.Counter("TcpExt", name)), len(r.Kernel) > 0
		}})
	}
	return slices.DeleteFunc(all, func(m metric) bool {
		for _, s := range sides {
			for _, r := range s.Results {
				if v, ok := m.of(r); ok && v != 0 {
					return false
				}
			}
		}
		return true
	})
}
