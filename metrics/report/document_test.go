package report

import (
	"testing"
	"time"

	"tcpbench/metrics"
)

// healthy is the document of the goldens. Its numbers are invented, but agree as those of a run.
func healthy(t *testing.T) *metrics.Result {
	t.Helper()
	return &metrics.Result{
		Schema: metrics.Schema,
		Host:   metrics.Host{CPUs: 2},
		Scenario: metrics.Scenario{
			Name: "short", Arrival: "closed", Lifecycle: "connect, 1 exchange of 64 B and 128 B, close",
			Close: "client-fin", Target: []string{"127.0.0.1:7001"},
		},
		Started:  time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC),
		ElapsedS: 10,
		Tally:    metrics.Tally{Attempted: 251_384, Succeeded: 251_384},
		Rate:     25_131.7,
		Histograms: map[string]metrics.Histogram{
			metrics.ScheduleLag:  histogram(t, 251_384, 900, 1.4),
			metrics.ConnectCall:  histogram(t, 251_384, 8_450, 1.3),
			metrics.Connect:      histogram(t, 251_384, 413_000, 1.5),
			metrics.HandshakeRTT: histogram(t, 3_927, 35_000, 1.6),
			metrics.FirstByte:    histogram(t, 251_384, 620_000, 1.5),
			metrics.ExchangeTime: histogram(t, 251_384, 620_900, 1.5),
			metrics.Lifetime:     histogram(t, 251_384, 1_090_000, 1.6),
			metrics.LoopLag:      histogram(t, 98_211, 71_000, 1.5),
			metrics.CloseTime:    histogram(t, 0, 0, 0),
		},
		CPU: metrics.CPU{
			Client:   &metrics.Usage{UserS: 0.731, SystemS: 8.56, PerConnection: 36.96, UserPerConnection: 2.91, SystemPerConnection: 34.05},
			Server:   &metrics.Usage{UserS: 0.905, SystemS: 8.12, PerConnection: 35.9, UserPerConnection: 3.6, SystemPerConnection: 32.3},
			HostBusy: 0.973,
		},
		Server: &metrics.ServerReport{
			Accepted: 251_402, Exchanges: 251_402, Closed: map[string]uint64{"completed": 251_466},
			WarmUp: &metrics.WarmUp{Accepted: 50_002, Open: 64},
		},
		Checks: []metrics.Check{
			{Name: "accepted", OK: true, Detail: "client established 301,402, server accepted 301,402"},
			{Name: "active-opens", OK: true, Detail: "client sent 301,402 SYNs, kernel counted 301,402"},
			{Name: "balance", OK: true, Detail: "251,384 attempted, 251,384 ended"},
		},
		Flags: []metrics.Flag{
			{Name: "shared-host", Why: "client and server share 2 processors, so each one's work is the other one's latency"},
		},
	}
}

// histogram has n samples that grow from half of median by a fixed rule, with a tail
// of the given steepness per factor of ten.
func histogram(t *testing.T, n int, median, tail float64) metrics.Histogram {
	t.Helper()
	r := metrics.NewRecorder()
	step, grow := 10, 1.0
	for i := range n {
		left := n - i // 1 for the largest
		if i < n/2 {
			r.Record(int64(median * (0.5 + float64(i)/float64(n))))
			continue
		}
		for n/left >= step {
			step *= 10
			grow *= tail
		}
		r.Record(int64(median * grow * (0.5 + float64(i)/float64(n))))
	}
	h, err := r.Export()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func failing(t *testing.T) *metrics.Result {
	r := healthy(t)
	r.Tally = metrics.Tally{
		Attempted: 251_384,
		Succeeded: 251_320,
		Failed:    map[string]uint64{"connect.ports_exhausted": 40, "exchange.reset": 7, "connect.refused": 1},
		Open:      16,
	}
	r.Said = &metrics.Said{Others: 1, Texts: []metrics.SaidText{
		{Failure: "exchange.reset", Text: `-ERR max number of clients reached\r\n`, Count: 4},
		{Failure: "close.reset", Text: `-ERR max number of clients reached\r\n`, Count: 1},
		{Failure: "exchange.reset", Text: `HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n`, Count: 1},
	}}
	r.Rate = 25_127.9
	lifetime := r.Histograms[metrics.Lifetime]
	lifetime.Count, lifetime.Clamped, lifetime.Max = 251_320, 1, 25*3600e9
	r.Histograms[metrics.Lifetime] = lifetime
	r.CPU.HostSteal = 0.031
	r.Server.Closed = map[string]uint64{"completed": 251_444, "reset": 9, "timeout": 11}
	r.Server.Open = 2
	r.Checks[1] = metrics.Check{Name: "active-opens", Detail: "client sent 301,402 SYNs, but the kernel counted 301,950: other programs connect in this namespace"}
	r.Flags = append(r.Flags,
		metrics.Flag{Name: "ports-exhausted", Why: "40 connects found no free four-tuple: one source address to one destination holds 28,232 of them; use more sources or destination ports"},
		metrics.Flag{Name: "other-traffic", Why: "548 connections that are not ours were opened meanwhile"},
	)
	return r
}

func openLoop(t *testing.T) *metrics.Result {
	r := healthy(t)
	intended := 10_000.0
	r.Scenario.Name, r.Scenario.Arrival = "open", "poisson"
	r.Scenario.Target = []string{"127.0.0.1:7001", "127.0.0.1:7002", "127.0.0.1:7003"}
	r.RateIntended, r.RateOffered, r.Rate = &intended, 9_941.2, 9_412.6
	r.Tally = metrics.Tally{Attempted: 99_412, Succeeded: 94_126, Open: 5_286, Missed: 588}
	r.Histograms = map[string]metrics.Histogram{
		metrics.ScheduleLag:         histogram(t, 99_412, 41_000, 4),
		metrics.ConnectCall:         histogram(t, 99_412, 8_450, 1.3),
		metrics.Connect:             histogram(t, 94_126, 480_000, 4),
		metrics.ConnectUncorrected:  histogram(t, 94_126, 413_000, 2),
		metrics.CloseTime:           histogram(t, 94_126, 38_000, 2),
		metrics.Lifetime:            histogram(t, 94_126, 1_200_000, 4),
		metrics.LifetimeUncorrected: histogram(t, 94_126, 1_090_000, 2),
	}
	r.Server = nil
	r.CPU.Server = nil
	r.Checks = nil
	r.Flags = []metrics.Flag{{Name: "rate-missed", Why: "9,941/s of 10,000/s intended connections were started"}}
	return r
}

func invalidRun(t *testing.T) *metrics.Result {
	r := healthy(t)
	r.Tally = metrics.Tally{Attempted: 64, Failed: map[string]uint64{"connect.refused": 64}}
	r.Rate = 0
	r.Histograms = nil
	r.CPU.Client = &metrics.Usage{UserS: 0.01, SystemS: 0.02}
	r.CPU.HostBusy = 0.004
	r.CPU.Server = nil
	r.Server = &metrics.ServerReport{}
	r.Checks = []metrics.Check{{Name: "accepted", OK: false, Detail: "client established 0, server accepted 0: nothing was measured"}}
	r.Flags = []metrics.Flag{
		{Name: "invalid", Why: "no connection succeeded, so there is nothing to report; is the server listening on 127.0.0.1:7001?"},
		{Name: "interrupted", Why: "stopped by SIGINT after 10.0 s of 60.0 s"},
	}
	return r
}
