package report

import (
	"io"
	"testing"
	"time"

	"tcpbench/metrics"
)

// exhausted has what the kernel saw, a finding, and expectations.
func exhausted(t *testing.T) *metrics.Result {
	r := healthy(t)
	r.Tally = metrics.Tally{Attempted: 1500, Succeeded: 1000, Failed: map[string]uint64{"connect.ports_exhausted": 500}}
	r.Flags = append(r.Flags, metrics.Flag{Name: "ports-exhausted", Why: "told at length below"})
	r.Kernel = []metrics.Namespace{{
		Of: "both",
		Counters: map[string]map[string]int64{
			"Tcp": {"ActiveOpens": 1000, "PassiveOpens": 1000}, "TcpExt": {"TW": 1000}, "Mptcp": {"Odd\x1b[2J": 1},
		},
		Listeners: []metrics.Queue{{Addr: "127.0.0.1:9000", Peak: 3, Limit: 128, Drops: 5}},
		Spaces:    &metrics.Spaces{Count: 1, Ports: 1000, Fullest: "127.0.0.1 to 127.0.0.1:9000", Peak: 1000},
		Timeline:  metrics.Timeline{T: []float64{0, 1}, Every: 4, Sockets: map[string][]int64{"client.TIME_WAIT": {0, 997}, "server.FIN_WAIT2": {2, 1}, "tw": {0, 1000}}},
		Cost:      metrics.ObserverCost{Samples: 42, Censuses: 30, CensusNS: 365_000, CPUShare: 0.004},
	}, {Of: "server", Cost: metrics.ObserverCost{Samples: 1}}}
	r.Histograms[metrics.TimeWaitSockets] = metrics.Histogram{Unit: metrics.SocketsUnit, Count: 30, P50: 480, P90: 996, P99: 997, Max: 997}
	r.Histograms[metrics.FinWait2Sockets] = metrics.Histogram{Unit: metrics.SocketsUnit, Count: 30} // none: no row
	r.Histograms[metrics.NamespaceTimeWait] = metrics.Histogram{Unit: metrics.SocketsUnit, Count: 42, P50: 481, P90: 999, P99: 1000, Max: 1000}
	r.Histograms[metrics.PortsInUse] = metrics.Histogram{Unit: metrics.PortsUnit, Count: 30, P50: 481, P90: 999, P99: 1000, Max: 1000}
	r.Histograms["of_a_later_version"] = metrics.Histogram{Unit: "things", Count: 1, P50: 7, P90: 7, P99: 7, Max: 7}
	waits := metrics.NewCoarseRecorder(4_000_000)
	waits.RecordMany(0, 90)
	waits.RecordMany(8_000_000, 10)
	h, err := waits.Export()
	if err != nil {
		t.Fatal(err)
	}
	r.Histograms[metrics.AcceptDelay] = h
	r.Findings = []metrics.Finding{{
		Name: "ports-exhausted", What: "The client ran out of ports after 2 s.", Mechanism: "Only the port can differ.",
		Evidence: []metrics.Value{
			{Name: "time_to_exhaustion", Value: 2, Unit: "s"}, {Name: "ports", Value: 1000}, {Name: "connect_call.p50", Value: 15_000, Unit: "ns"},
			{Name: "host_busy", Value: 0.5, Unit: "share"}, {Name: "sustained rate", Value: 16.7, Unit: "1/s"}, {Name: "client processors", Value: 1.53},
		},
		Remedies: []metrics.Remedy{{Do: "more source addresses", Cost: "addresses to configure"}, {Do: "wait", Cost: "none"}},
	}}
	r.Bursts = []metrics.BurstRow{{DueS: 0, Issued: 5000, SpreadNS: 61_000_000, LateNS: 2_000}}
	r.Population = &metrics.Population{Wanted: 1000, Held: 998, RampS: 2, HoldS: 30, Clients: 2, Servers: 2,
		Opened: 1000, OpenedPerS: 500, HeartbeatsPerS: 100}
	r.CPU.Client.PerOpened, r.CPU.Client.PerHeartbeat, r.CPU.Server.PerOpened = 41.5, 9.4, 37
	r.Beats = &metrics.Beats{Sent: 3000, Answered: 2998, Missed: 2}
	r.Expectations = []metrics.Expectation{
		{Expression: "succeeded == 1000", Pass: true, Values: []metrics.Value{{Name: "succeeded", Value: 1000}}},
		{Expression: "connect.p99 < 1ms", Values: []metrics.Value{{Name: "connect.p99", Value: 2e6, Unit: "ns"}}},
		{Expression: "detect.max < 1s", Reason: "no sample: detect.max"},
	}
	return r
}

func moment() *metrics.Moment {
	return &metrics.Moment{
		SpacesLeft: 12,
		Time:       time.Date(2026, 5, 4, 12, 0, 7, 0, time.UTC),
		States:     map[string]int{"LISTEN": 2, "ESTABLISHED": 104, "TIME_WAIT": 97_988, "NEW_STATE": 1},
		Listeners: []metrics.Listening{
			{Addr: "0.0.0.0:22", Sockets: 1, Limit: 128}, {Addr: "[::]:9000", Sockets: 2, Waiting: 9, Fullest: 8, Limit: 4096},
		},
		Destinations: []metrics.Destination{{Source: "127.0.1.2", Target: "127.0.0.1:9000", TimeWait: 388, Other: 1, Left: 27_843}},
		Spaces:       254, Ports: 28_232,
		Rates:    map[string]map[string]float64{"Tcp": {"ActiveOpens": 28_008}, "TcpExt": {"ListenDrops": 0.5}},
		CensusNS: 40_300_000,
	}
}

func TestViewsMatchTheGoldens(t *testing.T) {
	findings := exhausted(t).Findings
	drawnAsGolden(t, map[string]func(io.Writer) error{
		"kernel":       func(w io.Writer) error { return Text(w, exhausted(t), Style{}) },
		"kernel-color": func(w io.Writer) error { return Text(w, exhausted(t), Style{Color: true}) },
		"findings":     func(w io.Writer) error { return Findings(w, findings, Style{Width: 60}) },
		"warnings":     func(w io.Writer) error { return Warnings(w, findings, Style{Width: 60}) },
		"moment":       func(w io.Writer) error { return Moment(w, moment(), Style{}) },
		"moment-none":  func(w io.Writer) error { return Moment(w, &metrics.Moment{}, Style{}) },
	})
}
