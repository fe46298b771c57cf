package compare

import (
	"fmt"
	"maps"
	"slices"

	"tcpbench/metrics"
)

// metric is a number of a result.
type metric struct {
	name, unit string
	of         func(*metrics.Result) (value float64, ok bool)
	// few tells that a result measured it, with too few samples; nil if any number will do.
	few     func(*metrics.Result) bool
	samples int64 // that it takes
}

// A quantile has ten samples beyond it, or says more of chance than of the run.
const (
	samplesP99  = 1_000
	samplesP999 = 10_000
)

// quantile is a metric of a histogram.
func quantile(histogram, name string, samples int64, of func(metrics.Histogram) int64) metric {
	return metric{
		name: histogram + "." + name, unit: metrics.Nanoseconds, samples: samples,
		of: func(r *metrics.Result) (float64, bool) {
			h := r.Histograms[histogram]
			return float64(of(h)), h.Count >= samples
		},
		few: func(r *metrics.Result) bool {
			h := r.Histograms[histogram]
			return h.Count > 0 && h.Count < samples
		},
	}
}

func (m *metric) tooFew(n, of int) string {
	return fmt.Sprintf("%d of %d results have fewer than the %d samples that it takes", n, of, m.samples)
}

func p50(h metrics.Histogram) int64  { return h.P50 }
func p99(h metrics.Histogram) int64  { return h.P99 }
func p999(h metrics.Histogram) int64 { return h.P999 }

// cpu is processor time of a side in microseconds for each connection, opened connection or
// heartbeat, as each returns it; zero means that there was none.
func cpu(name string, side func(*metrics.Result) *metrics.Usage, each func(*metrics.Usage) float64) metric {
	return metric{name: "cpu." + name, unit: "us", of: func(r *metrics.Result) (float64, bool) {
		u := side(r)
		if u == nil || each(u) == 0 {
			return 0, false
		}
		return each(u), true
	}}
}

func client(r *metrics.Result) *metrics.Usage { return r.CPU.Client }
func server(r *metrics.Result) *metrics.Usage { return r.CPU.Server }

func perConnection(u *metrics.Usage) float64 { return u.PerConnection }
func perOpened(u *metrics.Usage) float64     { return u.PerOpened }
func perHeartbeat(u *metrics.Usage) float64  { return u.PerHeartbeat }

// held is a rate of a held population.
func held(name string, of func(*metrics.Population) float64) metric {
	return metric{name: name, unit: "1/s", of: func(r *metrics.Result) (float64, bool) {
		if r.Population == nil || of(r.Population) == 0 {
			return 0, false
		}
		return of(r.Population), true
	}}
}

// PerConnection is the unit of counts: a faster side would have more of everything.
const PerConnection = "1/conn"

// count is a number of something for each attempt.
func count(name string, of func(*metrics.Result) (float64, bool)) metric {
	return metric{name: name + "/conn", unit: PerConnection, of: func(r *metrics.Result) (float64, bool) {
		n, ok := of(r)
		if !ok || r.Attempted == 0 {
			return 0, false
		}
		return n / float64(r.Attempted), true
	}}
}

// always are the numbers that every table has, where results have them.
var always = []metric{
	{name: "rate", unit: "1/s", of: func(r *metrics.Result) (float64, bool) { return r.Rate, r.Population == nil }},
	held("opened", func(p *metrics.Population) float64 { return p.OpenedPerS }),
	held("heartbeats", func(p *metrics.Population) float64 { return p.HeartbeatsPerS }),
	quantile(metrics.Connect, "p50", 1, p50),
	quantile(metrics.Connect, "p99", samplesP99, p99),
	quantile(metrics.Connect, "p999", samplesP999, p999),
	quantile(metrics.ConnectCall, "p50", 1, p50), quantile(metrics.ConnectCall, "p99", samplesP99, p99),
	quantile(metrics.Lifetime, "p50", 1, p50), quantile(metrics.Lifetime, "p99", samplesP99, p99),
	quantile(metrics.Heartbeat, "p50", 1, p50), quantile(metrics.Heartbeat, "p99", samplesP99, p99),
	cpu("client", client, perConnection), cpu("server", server, perConnection),
	cpu("client/opened", client, perOpened), cpu("server/opened", server, perOpened),
	cpu("client/heartbeat", client, perHeartbeat), cpu("server/heartbeat", server, perHeartbeat),
	count("time_wait.max", peak("TIME_WAIT")), count("fin_wait2.max", peak("FIN_WAIT2")),
}

// telling are counters of the kernel that say why numbers differ.
var telling = []string{
	"ListenOverflows", "ListenDrops", "TCPTimeWaitOverflow", "TWRecycled", "TCPSynRetrans", "TCPReqQFullDrop", "SyncookiesSent",
}

// peak is the largest number of the run's own sockets in a state, of whichever side has more.
// What others on the host have is not compared: tw of sockstat is the whole namespace's.
func peak(state string) func(*metrics.Result) (float64, bool) {
	return func(r *metrics.Result) (most float64, seen bool) {
		for i := range r.Kernel {
			for _, side := range []string{"client", "server"} {
				n, ok := r.Kernel[i].Peak(side, state)
				most, seen = max(most, float64(n)), seen || ok
			}
		}
		return most, seen
	}
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
		all = append(all, count("failed."+name, func(r *metrics.Result) (float64, bool) { return float64(r.Failed[name]), true }))
	}
	for _, name := range telling {
		all = append(all, count(name, func(r *metrics.Result) (float64, bool) {
			return float64(r.Counter("TcpExt", name)), len(r.Kernel) > 0
		}))
	}
	return slices.DeleteFunc(all, func(m metric) bool {
		for _, s := range sides {
			for _, r := range s.Results {
				if v, ok := m.of(r); ok && v != 0 || m.few != nil && m.few(r) {
					return false
				}
			}
		}
		return true
	})
}
