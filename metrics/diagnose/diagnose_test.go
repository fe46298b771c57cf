package diagnose

import (
	"slices"
	"strings"
	"testing"

	"tcpbench/metrics"
)

// healthy is a document without findings: 10,000 connections on one machine whose processors were used
// up.
func healthy(t *testing.T) *metrics.Result {
	t.Helper()
	return &metrics.Result{
		Host: metrics.Host{CPUs: 2, Sysctls: map[string]string{
			"net.ipv4.ip_local_port_range": "20000 20999", "net.ipv4.tcp_rfc1337": "0", "net.core.somaxconn": "128",
			"net.ipv4.tcp_max_tw_buckets": "5000", "net.ipv4.tcp_abort_on_overflow": "0",
		}, Limits: map[string]string{"nofile_hard": "20000"}},
		ElapsedS: 10,
		Tally:    metrics.Tally{Attempted: 10_000, Succeeded: 10_000, Failed: map[string]uint64{}},
		Histograms: map[string]metrics.Histogram{
			metrics.ConnectCall: times(t, 10_000, 15_000), metrics.Connect: times(t, 10_000, 250_000), metrics.AcceptDelay: times(t, 150, 1),
		},
		CPU:   metrics.CPU{Client: &metrics.Usage{UserS: 1, SystemS: 8}, Server: &metrics.Usage{UserS: 1, SystemS: 8}, HostBusy: 0.99, HostSoftIRQ: 0.35},
		Flags: []metrics.Flag{{Name: "shared-host"}},
		Kernel: []metrics.Namespace{{
			Of: "both",
			Counters: map[string]map[string]int64{
				"Tcp":    {"ActiveOpens": 10_000, "PassiveOpens": 10_000, "InSegs": 100_000, "OutSegs": 100_000},
				"TcpExt": {"TW": 10_000, "TCPDelivered": 50_000, "TCPPureAcks": 30_000},
			},
			Listeners: []metrics.Queue{{Addr: "127.0.0.1:9000", Peak: 40, Limit: 128}},
			Spaces:    &metrics.Spaces{Count: 254, Ports: 1000, Fullest: "127.0.1.1 to 127.0.0.1:9000", Peak: 40},
			Timeline: metrics.Timeline{T: []float64{0, 5, 10}, Sockets: map[string][]int64{
				"tw": {0, 5000, 10_000}, "fullest.TIME_WAIT": {0, 20, 39}, "fullest.other": {0, 1, 1},
			}},
		}},
	}
}

// times is a histogram of n equal times.
func times(t *testing.T, n int, ns int64) metrics.Histogram {
	t.Helper()
	r := metrics.NewRecorder()
	for range n {
		r.Record(ns)
	}
	return export(t, r)
}

func export(t *testing.T, r *metrics.Recorder) metrics.Histogram {
	t.Helper()
	h, err := r.Export()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func ext(r *metrics.Result) map[string]int64 { return r.Kernel[0].Counters["TcpExt"] }

func TestAHealthyRunIsToldNothing(t *testing.T) {
	if all := Findings(healthy(t)); len(all) != 0 {
		t.Errorf("%+v", all)
	}
	if all := Findings(&metrics.Result{}); len(all) != 0 {
		t.Errorf("an empty document: %+v", all)
	}
}

// Each fault is the only finding from its evidence, and half of the evidence is not enough.
func TestFaults(t *testing.T) {
	for _, tt := range []struct {
		want     string
		evidence string // a piece that must be quoted
		says     string // words of the sentence
		spoil    func(*metrics.Result)
	}{
		{PortsExhausted, "predicted", "from 127.0.0.1 to 127.0.0.1:9000, first 2 s after the start: of its 1,000 ports 998 were in TIME_WAIT and 2 in use", func(r *metrics.Result) {
			r.Succeeded, r.Failed["connect.ports_exhausted"] = 9_000, 1_000
			r.Exhaustion = &metrics.Exhaustion{AtNS: 2e9, Source: "127.0.0.1", Target: "127.0.0.1:9000", Ports: 1000, TimeWait: 998, InUse: 2}
			r.Histograms[metrics.Exhausted] = times(t, 2, 3e9)
			r.Forecast = []metrics.Finding{{Name: PortsExhausted, Evidence: []metrics.Value{{Name: timeToExhaustion, Value: 2.1, Unit: "s"}}}}
		}},
		{PortsExhausted, "ports in TIME_WAIT", "first in the warm-up: of its 999 ports", func(r *metrics.Result) {
			r.Succeeded, r.Failed["connect.ports_exhausted"] = 9_000, 1_000
			r.Exhaustion = &metrics.Exhaustion{AtNS: -1e9, Source: "127.0.0.1", Target: "127.0.0.1:9000", Ports: 999, TimeWait: 999}
		}},
		{PortsExhausted, "failed.ports_exhausted", "ran out of ports", func(r *metrics.Result) {
			r.Succeeded, r.Failed["socket.ports_exhausted"], r.Kernel = 9_999, 1, nil
		}},
		{Descriptors, "failed.descriptors", "20000", func(r *metrics.Result) { r.Succeeded, r.Failed["socket.descriptors"] = 9_999, 1 }},
		{ServerDescriptors, "failed.server_descriptors", "refused 100 connections, because its process had no file descriptor", func(r *metrics.Result) {
			r.Succeeded, r.Failed["exchange.server_descriptors"] = 9_900, 100
		}},
		// Clients that only connect get no reason, but the server's count has it.
		{ServerDescriptors, "failed.reset by the server's refusal", "refused 100 connections", func(r *metrics.Result) {
			r.Succeeded, r.Failed["exchange.server_descriptors"], r.Failed["exchange.reset"], ext(r)["TCPAbortOnClose"] = 9_900, 60, 40, 100
			r.Server = &metrics.ServerReport{Closed: map[string]uint64{"descriptors": 120}} // the warm-up among them
		}},
		{ServerBounds, "failed.server_rate", "refused 100 connections, because they ordered more", func(r *metrics.Result) {
			r.Succeeded, r.Failed["exchange.server_rate"] = 9_900, 100
		}},
		{ServerBounds, "failed.server_life", "refused 100 connections", func(r *metrics.Result) {
			r.Succeeded, r.Failed["exchange.server_life"], r.Failed["close.server_life"] = 9_900, 60, 40
		}},
		{"resets", "failed.reset", "", func(r *metrics.Result) {
			r.Succeeded, r.Failed["exchange.reset"] = 9_900, 100
			r.Server = &metrics.ServerReport{Closed: map[string]uint64{"completed": 9_900}}
		}},
		{Memory, "failed.no_buffers", "memory", func(r *metrics.Result) { r.Succeeded, r.Failed["connect.no_buffers"] = 9_999, 1 }},
		{Memory, "TcpExt.TCPAbortOnMemory", "memory", func(r *metrics.Result) { ext(r)["TCPAbortOnMemory"] = 3 }},
		{AcceptQueue, "TcpExt.ListenOverflows", "17 SYNs and last ACKs met a full accept queue; that of 127.0.0.1:9000 holds 129, and a sample saw up to 129", func(r *metrics.Result) {
			ext(r)["ListenOverflows"], ext(r)["ListenDrops"], r.Kernel[0].Listeners[0].Peak, r.Kernel[0].Listeners[0].Drops = 17, 17, 129, 17
		}},
		{AcceptQueue, "connects of the first burst", "Bursts came faster", func(r *metrics.Result) {
			ext(r)["ListenOverflows"], r.Kernel[0].Listeners[0].Drops, r.Bursts = 17, 17, []metrics.BurstRow{{Issued: 5000}}
		}},
		{"syn-queue-full", "TcpExt.SyncookiesSent", "12 SYN cookies", func(r *metrics.Result) {
			ext(r)["TCPReqQFullDoCookies"], ext(r)["SyncookiesSent"] = 12, 12
		}},
		{"syn-queue-full", "TcpExt.TCPReqQFullDrop", "12 SYNs dropped", func(r *metrics.Result) { ext(r)["TCPReqQFullDrop"] = 12 }},
		{SYNRetransmitted, "established at 3 s", "steps in the connect times: 20 at 1 s, 7 at 3 s. The kernel sent 34 SYNs again", func(r *metrics.Result) {
			c := metrics.NewRecorder()
			for range 20 {
				c.Record(1_010e6)
			}
			for range 7 {
				c.Record(3_040e6)
			}
			r.Histograms[metrics.Connect] = export(t, c)
			ext(r)["TCPSynRetrans"] = 34
		}},
		{TimeWaitTable, "TcpExt.TCPTimeWaitOverflow", "(5000) was reached", func(r *metrics.Result) { ext(r)["TCPTimeWaitOverflow"] = 4_000 }},
		{"time-wait-assassinated", "TcpExt.TW", "at least 300 of 10,000", func(r *metrics.Result) { r.Kernel[0].Timeline.Sockets["tw"][2] = 9_700 }},
		{"port-search-cliff", "connect_call_upper.p50", "The median of connect() was 15 µs", func(r *metrics.Result) {
			all, upper := metrics.NewRecorder(), metrics.NewRecorder()
			for range 5000 {
				all.Record(15_000)
				all.Record(2e6)
				upper.Record(2e6)
			}
			r.Histograms[metrics.ConnectCall], r.Histograms[metrics.ConnectCallUpper] = export(t, all), export(t, upper)
		}},
		{"resets", "TcpExt.TCPAbortOnClose", "data unread", func(r *metrics.Result) {
			r.Succeeded, r.Failed["exchange.reset"], ext(r)["TCPAbortOnClose"] = 9_900, 100, 100
		}},
		{"resets", "RST by the server NO_SOCKET", "reset by the other side.", func(r *metrics.Result) {
			r.Succeeded, r.Failed["exchange.reset"], r.Kernel[0].Counters["Tcp"]["OutRsts"] = 9_900, 100, 100
			r.Kernel[0].Trace = &metrics.Trace{ResetsSent: map[string]uint64{"server NO_SOCKET": 100}}
		}},
		{"resets", "failed.reset", "outside of this network namespace", func(r *metrics.Result) { r.Succeeded, r.Failed["exchange.reset"] = 9_900, 100 }},
		{"server-limited", "server processors", "The server set the rate", func(r *metrics.Result) {
			r.Flags, r.CPU.HostBusy = []metrics.Flag{{Name: "server-limited"}}, 0.6
		}},
		{"client-limited", "client processors", "The client set the rate", func(r *metrics.Result) {
			r.Flags, r.CPU.HostBusy = []metrics.Flag{{Name: "client-limited"}}, 0.6
		}},
		{"steal", "cpu.steal", "12.0 %", func(r *metrics.Result) { r.CPU.HostSteal = 0.12 }},
		{"receive-path", "softnet dropped", "dropped 9 packets", func(r *metrics.Result) { r.Kernel[0].Softnet.Dropped = 9 }},
		{"receive-path", "cpu.softirq", "35 %", func(r *metrics.Result) { r.Kernel[0].Of = "client" }},
		{"noisy-host", "cpu.busy", "others", func(r *metrics.Result) { r.Flags = []metrics.Flag{{Name: "noisy-host", Why: "others used it"}} }},
	} {
		t.Run(tt.want, func(t *testing.T) {
			r := healthy(t)
			tt.spoil(r)
			all := Findings(r)
			if len(all) != 1 || all[0].Name != tt.want {
				t.Fatalf("%+v, want %s alone", all, tt.want)
			}
			f := &all[0]
			if _, ok := f.Of(tt.evidence); !ok {
				t.Errorf("no evidence %q among %+v", tt.evidence, f.Evidence)
			}
			if !strings.Contains(f.What, tt.says) {
				t.Errorf("%q does not say %q", f.What, tt.says)
			}
			whole(t, f)
		})
	}
}

// whole tells whether a finding has all its parts.
func whole(t *testing.T, f *metrics.Finding) {
	t.Helper()
	if len(f.Mechanism) < 40 || !strings.HasSuffix(f.Mechanism, ".") && !strings.HasSuffix(f.Mechanism, ").") {
		t.Errorf("%s: no mechanism: %q", f.Name, f.Mechanism)
	}
	if len(f.Remedies) == 0 || slices.ContainsFunc(f.Remedies, func(r metrics.Remedy) bool { return r.Do == "" || r.Cost == "" }) {
		t.Errorf("%s: a remedy without its cost, or none: %+v", f.Name, f.Remedies)
	}
}

// Each finding has a case in which its evidence means something else. If it has a precondition, that
// alone prevents the finding.
func TestPreconditions(t *testing.T) {
	elsewhere := func(r *metrics.Result) { r.Kernel[0].Of, r.Kernel[0].Listeners, r.CPU.HostSoftIRQ = "client", nil, 0 }
	cases := map[string]struct {
		why   string
		spoil func(*metrics.Result)
	}{
		PortsExhausted: {"ports ran out in the warm-up only", func(r *metrics.Result) {
			r.Exhaustion = &metrics.Exhaustion{AtNS: -1e9, Source: "127.0.0.1", Target: "127.0.0.1:9000", Ports: 999}
		}},
		AcceptQueue: {"others' listening sockets overflowed", func(r *metrics.Result) { ext(r)["ListenOverflows"], ext(r)["ListenDrops"] = 17, 17 }},
		SYNQueue: {"cookies are sent without end", func(r *metrics.Result) {
			ext(r)["TCPReqQFullDoCookies"], ext(r)["SyncookiesSent"], r.Host.Sysctls["net.ipv4.tcp_syncookies"] = 10_000, 10_000, "2"
		}},
		SYNRetransmitted: {"more connections came late than SYNs were sent again", func(r *metrics.Result) {
			r.Histograms[metrics.Connect], ext(r)["TCPSynRetrans"] = times(t, 50, 1_200e6), 3
		}},
		TimeWaitTable: {"there was no memory, and much room in the table", func(r *metrics.Result) {
			ext(r)["TCPTimeWaitOverflow"], r.Kernel[0].Timeline.Sockets["tw"], ext(r)["TW"] = 4_000, []int64{0, 100, 90}, 90
		}},
		Assassinated: {"SYNs took over the server's", func(r *metrics.Result) {
			r.Kernel[0].Timeline.Sockets["tw"][2], r.Kernel[0].Timeline.Sockets["server.TIME_WAIT"] = 9_000, []int64{0, 5_000, 9_000}
		}},
		PortSearch: {"the run chose each port itself", func(r *metrics.Result) {
			all, upper := metrics.NewRecorder(), metrics.NewRecorder()
			for range 5000 {
				all.Record(15_000)
				all.Record(2e6)
				upper.Record(2e6)
			}
			r.Histograms[metrics.ConnectCall], r.Histograms[metrics.ConnectCallUpper] = export(t, all), export(t, upper)
			r.Scenario.Settings = map[string]string{"explicit-ports": "true"}
		}},
		"server-limited": {"no processor was idle", func(r *metrics.Result) { r.Flags = []metrics.Flag{{Name: "server-limited"}} }},
		"client-limited": {"no processor was idle", func(r *metrics.Result) { r.Flags = []metrics.Flag{{Name: "client-limited"}} }},
		"steal":          {"a moment says nothing", func(r *metrics.Result) { r.CPU.HostSteal, r.ElapsedS = 0.5, 0.05 }},
		"receive-path":   {"a moment says nothing", func(r *metrics.Result) { r.Kernel[0].Of, r.ElapsedS = "client", 0.05 }},
		"noisy-host": {"a moment says nothing", func(r *metrics.Result) {
			r.Flags, r.ElapsedS = []metrics.Flag{{Name: "noisy-host", Why: "others used it"}}, 0.05
		}},

		// These have evidence of their own: the run's failures.
		Descriptors:       {"attempts failed otherwise", func(r *metrics.Result) { r.Failed["exchange.timeout"] = 1 }},
		ServerDescriptors: {"what it refused was of the warm-up", func(r *metrics.Result) { r.Server = &metrics.ServerReport{Closed: map[string]uint64{"descriptors": 9}} }},
		ServerBounds:      {"the server was merely slow", func(r *metrics.Result) { r.Failed["exchange.timeout"] = 1 }},
		Memory:            {"a queue was pruned, and there was memory", func(r *metrics.Result) { ext(r)["PruneCalled"], ext(r)["TCPRcvQDrop"] = 9, 9 }},
		Resets:            {"RSTs by which the run closes", func(r *metrics.Result) { r.Kernel[0].Counters["Tcp"]["OutRsts"] = 10_000 }},
	}
	for _, look := range looks {
		tt, ok := cases[look.name]
		if !ok {
			t.Errorf("%s: no case where it must not appear", look.name)
			continue
		}
		r := healthy(t)
		tt.spoil(r)
		if all := Findings(r); len(all) != 0 {
			t.Errorf("%s, though %s: %+v", look.name, tt.why, all)
		}
		// Without the precondition it would be found.
		if _, sound := ownEvidence[look.name]; !sound && look.find(r) == nil {
			t.Errorf("%s: the case shows nothing, for it has no evidence", look.name)
		}
	}
	// Drops of listening sockets in the client's namespace do not concern a server elsewhere.
	for _, counter := range []string{"ListenOverflows", "ListenDrops", "TCPReqQFullDrop", "TCPReqQFullDoCookies"} {
		r := healthy(t)
		elsewhere(r)
		ext(r)[counter] = 17
		if all := Findings(r); len(all) != 0 {
			t.Errorf("%s of others, with a server elsewhere: %+v", counter, all)
		}
	}
}

// ownEvidence are the findings without a precondition.
var ownEvidence = map[string]bool{Descriptors: true, ServerDescriptors: true, ServerBounds: true, Memory: true, Resets: true}

// A remedy does not set what the server's namespace already has.
func TestRemediesAreNotInForce(t *testing.T) {
	advised := func(r *metrics.Result) bool {
		ext(r)["TCPReqQFullDrop"] = 12
		for _, f := range Findings(r) {
			for _, remedy := range f.Remedies {
				if strings.Contains(remedy.Do, "tcp_syncookies=1") {
					return true
				}
			}
		}
		return false
	}
	for _, tt := range []struct {
		client, server string // values; "" of the server: the profile says nothing
		want           bool
	}{{"0", "", true}, {"1", "", false}, {"1", "0", true}, {"0", "1", false}} {
		r := healthy(t)
		r.Host.Sysctls["net.ipv4.tcp_syncookies"] = tt.client
		if tt.server != "" {
			r.Lab = &metrics.Lab{Server: metrics.LabHost{Settings: []metrics.LabSetting{{Key: "net.ipv4.tcp_syncookies", Value: tt.server, Outcome: metrics.Applied}}}}
		}
		if got := advised(r); got != tt.want {
			t.Errorf("%+v: advised %v", tt, got)
		}
	}
}

// These look like faults, but are not.
func TestNoFalseAlarm(t *testing.T) {
	for name, spoil := range map[string]func(*metrics.Result){
		"slow connects of others": func(r *metrics.Result) { ext(r)["TCPSynRetrans"] = 3 },
		"a slow client": func(r *metrics.Result) {
			c := metrics.NewRecorder()
			c.Record(5e9)
			r.Histograms[metrics.Connect] = export(t, c)
		},
		"a lateness that is no step": func(r *metrics.Result) {
			c := metrics.NewRecorder()
			c.Record(5e9)
			r.Histograms[metrics.Connect] = export(t, c)
			r.Histograms[metrics.ConnectUncorrected] = times(t, 100, 1e6)
			ext(r)["TCPSynRetrans"] = 3
		},
		"ports taken over again":     func(r *metrics.Result) { r.Kernel[0].Timeline.Sockets["tw"][2], ext(r)["TWRecycled"] = 4_000, 6_000 },
		"TIME_WAIT that has expired": func(r *metrics.Result) { r.Kernel[0].Timeline.Sockets["tw"][2], r.Kernel[0].Timeline.T[2] = 4_000, 70 },
		"TIME_WAIT that is ignored by RSTs": func(r *metrics.Result) {
			r.Kernel[0].Timeline.Sockets["tw"][2], r.Host.Sysctls["net.ipv4.tcp_rfc1337"] = 4_000, "1"
		},
		"cookies that were always sent": func(r *metrics.Result) { ext(r)["SyncookiesSent"] = 10 },
		"a search that stayed quick": func(r *metrics.Result) {
			r.Histograms[metrics.ConnectCallUpper] = times(t, 5000, 15_000)
		},
		"a squeezed receive path": func(r *metrics.Result) { r.Kernel[0].Softnet.Squeezed = 100 },
		"resets that were asked for": func(r *metrics.Result) {
			r.Kernel[0].Counters["Tcp"]["OutRsts"], r.Kernel[0].Counters["Tcp"]["EstabResets"] = 10_000, 20_000
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := healthy(t)
			spoil(r)
			if all := Findings(r); len(all) != 0 {
				t.Errorf("%+v", all)
			}
		})
	}
}
