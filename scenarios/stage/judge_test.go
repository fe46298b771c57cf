package stage

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"tcpbench/internal/agent"
	"tcpbench/internal/kernel"
	"tcpbench/internal/kernel/sockdiag"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
	"tcpbench/metrics"
	"tcpbench/server"
)

// verdict is what a run is judged by; sound returns one of a run without faults.
type verdict struct {
	stage  stage
	result metrics.Result
	report metrics.ClientReport
	moved  kernel.Moved
}

func sound() *verdict {
	const second = int64(time.Second)
	remote := netip.MustParseAddrPort("192.0.2.1:9000")
	v := &verdict{
		stage: stage{plan: &Plan{
			Client: loadgen.Config{Process: pace.Closed, Connections: 64, Targets: []netip.AddrPort{remote}},
			Server: &server.Config{Loops: 2},
		}},
		report: metrics.ClientReport{
			SYNs: 1100, Established: 1100, ElapsedNS: second, InTime: 1000, EndedInTime: 1000,
			UserNS: second / 20, SystemNS: second / 5,
			Loops: []metrics.LoopReport{{BusyNS: second / 4}, {BusyNS: second / 4}},
		},
		moved: kernel.Moved{"Tcp": {"ActiveOpens": 1100}},
	}
	v.stage.from.server = &ServerUsage{}
	v.stage.to.server = &ServerUsage{Usage: agent.Usage{SystemNS: second / 5}}
	v.result = metrics.Result{
		Tally:      metrics.Tally{Attempted: 1000, Succeeded: 1000, Failed: map[string]uint64{}},
		ElapsedS:   1,
		Histograms: map[string]metrics.Histogram{metrics.Lifetime: {Count: 1000}},
		CPU:        metrics.CPU{Server: &metrics.Usage{}, HostBusy: 0.25},
		Server: &metrics.ServerReport{Accepted: 1000, Closed: map[string]uint64{"completed": 1010},
			WarmUp: &metrics.WarmUp{Accepted: 100, Open: 10}},
		Host: metrics.Host{CPUs: 2},
	}
	return v
}

func (v *verdict) flags() []string {
	v.stage.judge(&v.result, &v.report, v.moved)
	var names []string
	for _, f := range v.result.Flags {
		names = append(names, f.Name)
	}
	return names
}

func TestJudgeSaysNothingOfASoundRun(t *testing.T) {
	if flags := sound().flags(); len(flags) > 0 {
		t.Errorf("flags %v", flags)
	}
}

// Lateness that is small beside what was measured is harmless: here 5 ms on the way to a server
// that is 80 ms away, and that of heartbeats, which connect does not contain.
func TestHarmlessLatenessIsNoFlag(t *testing.T) {
	v, rate := sound(), 1000.0
	v.result.RateIntended = &rate
	v.result.Histograms[metrics.ScheduleLag] = metrics.Histogram{P50: 500_000, P99: 5_000_000}
	v.result.Histograms[metrics.Connect] = metrics.Histogram{P50: 80_100_000, P99: 86_000_000}
	v.result.Histograms[metrics.ConnectUncorrected] = metrics.Histogram{P50: 80_000_000, P99: 81_000_000}
	if flags := v.flags(); len(flags) > 0 {
		t.Errorf("flags %v", flags)
	}
}

func TestJudgeFlags(t *testing.T) {
	rate := 1000.0
	for _, tt := range []struct {
		name  string
		spoil func(*verdict)
		want  string
	}{
		{"no attempt", func(v *verdict) {
			v.result.Tally, v.result.Histograms = metrics.Tally{}, nil
		}, "invalid"},
		{"counts that do not balance", func(v *verdict) { v.result.Attempted++ }, "invalid"},
		{"a lifetime too few", func(v *verdict) {
			v.result.Histograms[metrics.Lifetime] = metrics.Histogram{Count: 999}
		}, "invalid"},
		{"fewer accepted than established", func(v *verdict) {
			v.result.Server.Accepted--
			v.result.Server.Closed["completed"]--
		}, "invalid"},
		{"more accepted than SYNs", func(v *verdict) {
			v.result.Server.Accepted++
			v.result.Server.Closed["completed"]++
		}, "invalid"},
		{"a server that loses those that were open", func(v *verdict) { v.result.Server.WarmUp.Open-- }, "invalid"},
		{"a server that lost count", func(v *verdict) { v.result.Server.Closed["completed"]-- }, "invalid"},
		{"a kernel that saw fewer SYNs", func(v *verdict) { v.moved["Tcp"]["ActiveOpens"]-- }, "invalid"},
		{"others' connections", func(v *verdict) { v.moved["Tcp"]["ActiveOpens"] += 100 }, "other-traffic"},
		{"an interruption", func(v *verdict) { v.report.Stopped = "interrupted" }, "interrupted"},
		{"all refused", func(v *verdict) {
			v.result.Succeeded, v.result.Failed = 0, map[string]uint64{"connect.refused": 1000}
			v.result.Histograms = nil
		}, "nothing-succeeded"},
		{"no port free", func(v *verdict) {
			v.result.Succeeded, v.result.Failed["connect.ports_exhausted"] = 990, 10
			v.result.Histograms[metrics.Lifetime] = metrics.Histogram{Count: 990}
		}, "ports-exhausted"},
		{"busy loops", func(v *verdict) {
			for i := range v.report.Loops {
				v.report.Loops[i].BusyNS = v.report.ElapsedNS * 95 / 100
			}
		}, "client-limited"},
		{"a busy server", func(v *verdict) {
			v.stage.to.server.SystemNS = 2 * v.report.ElapsedNS * 95 / 100
			v.result.CPU.HostBusy = 0.5
		}, "server-limited"},
		{"a full machine with both sides", func(v *verdict) {
			v.stage.plan.Client.Targets[0] = netip.MustParseAddrPort("127.0.0.1:9000")
			v.result.CPU.HostBusy = 0.99
			v.report.SystemNS = v.report.ElapsedNS
			v.stage.to.server.SystemNS = v.report.ElapsedNS
		}, "shared-host"},
		{"arrivals that could not start", func(v *verdict) {
			v.result.RateIntended, v.result.Missed = &rate, 100
		}, "rate-missed"},
		{"a late open loop", func(v *verdict) {
			v.result.RateIntended = &rate
			v.result.Histograms[metrics.Connect] = metrics.Histogram{P50: 110_000, P99: 450_000}
			v.result.Histograms[metrics.ConnectUncorrected] = metrics.Histogram{P50: 100_000, P99: 200_000}
		}, "lagging"},
		{"an open loop that is late as a rule", func(v *verdict) {
			v.result.RateIntended = &rate
			v.result.Histograms[metrics.Connect] = metrics.Histogram{P50: 300_000, P99: 1_000_000_000}
			v.result.Histograms[metrics.ConnectUncorrected] = metrics.Histogram{P50: 100_000, P99: 1_000_000_000}
		}, "lagging"},
		{"a kernel that nobody could watch", func(v *verdict) { v.stage.unobserved = errors.New("no netlink here") }, "unobserved"},
		{"more spaces than a census tells apart", func(v *verdict) {
			v.result.Kernel = []metrics.Namespace{{Spaces: &metrics.Spaces{Left: 3}}}
		}, "spaces-left-out"},
		{"a server that only speaks TCP", func(v *verdict) { v.result.MPTCP = &metrics.MPTCP{Fallbacks: 1000} }, "mptcp-fallback"},
		{"a thieving hypervisor", func(v *verdict) { v.result.CPU.HostSteal = 0.1 }, "noisy-host"},
		{"other processes", func(v *verdict) { v.result.CPU.HostBusy = 0.8 }, "noisy-host"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := sound()
			tt.spoil(v)
			if flags := v.flags(); !slices.Equal(slices.Compact(flags), []string{tt.want}) {
				t.Errorf("flags %v, want %s alone: %+v", flags, tt.want, v.result.Flags)
			}
			for _, f := range v.result.Flags {
				if len(f.Why) < 40 || !strings.HasSuffix(f.Why, ".") && !strings.HasSuffix(f.Why, "?") {
					t.Errorf("flag %s is no sentence: %q", f.Name, f.Why)
				}
			}
		})
	}
}

// Each flag has a case in which it must not appear, though its evidence is there or nearly so.
func TestFlagsNeedTheirPrecondition(t *testing.T) {
	local := func(v *verdict) {
		v.stage.plan.Client.Targets[0] = netip.MustParseAddrPort("127.0.0.1:9000")
		v.result.CPU.HostBusy = 0.99
	}
	busyClient := func(v *verdict) {
		for i := range v.report.Loops {
			v.report.Loops[i].BusyNS = v.report.ElapsedNS
		}
	}
	busyServer := func(v *verdict) { v.stage.to.server.SystemNS, v.result.CPU.HostBusy = 2*v.report.ElapsedNS, 0.9 }
	refused := func(v *verdict) {
		v.result.Succeeded, v.result.Failed, v.result.Histograms = 0, map[string]uint64{"connect.refused": 1000}, nil
		v.report.InTime, v.report.Established = 0, 0
		v.result.Server.Accepted, v.result.Server.WarmUp, v.result.Server.Closed = 0, nil, nil
	}
	tiny := func(v *verdict) {
		v.report.ElapsedNS, v.result.ElapsedS = int64(50*time.Millisecond), 0.05
	}
	both := func(all ...func(*verdict)) func(*verdict) {
		return func(v *verdict) {
			for _, spoil := range all {
				spoil(v)
			}
		}
	}
	own := func(v *verdict) {
		v.report.SystemNS, v.stage.to.server.SystemNS = v.report.ElapsedNS, v.report.ElapsedNS
	}
	cases := map[string]map[string]func(*verdict){
		"invalid":     {"a count that a server may miss": func(v *verdict) { v.moved["Tcp"]["ActiveOpens"] += 5 }},
		"interrupted": {"a server that died": func(v *verdict) { v.stage.serverLost = errors.New("it died"); v.result.Server = nil }},
		"server-lost": {"a server of others": func(v *verdict) { v.stage.plan.Server, v.result.Server = nil, nil }},
		"unobserved":  {"no tracepoints": func(v *verdict) { v.stage.untraced = errors.New("no bpf here") }},
		"untraced":    {"no view at all": func(v *verdict) { v.stage.unobserved = errors.New("no netlink here") }},
		"spaces-left-out": {"as many spaces as fit": func(v *verdict) {
			v.result.Kernel = []metrics.Namespace{{Spaces: &metrics.Spaces{Count: sockdiag.MostSpaces}}}
		}},
		"mptcp-fallback": {"all spoke it": func(v *verdict) { v.result.MPTCP = &metrics.MPTCP{Spoken: 1000} }},
		"late-link":      {"no lab": func(v *verdict) {}},
		"nothing-succeeded": {
			"one that succeeded": func(v *verdict) { v.result.Succeeded, v.result.Failed["connect.refused"] = 1, 999 },
			"all still open":     func(v *verdict) { v.result.Succeeded, v.result.Open = 0, 1000 },
		},
		"ports-exhausted": {"held back by a lack of descriptors": func(v *verdict) { v.report.ExhaustedNS = 1 }},
		"shared-host": {
			"others used the processors": local,
			"all refused":                both(local, own, refused),
			"a moment":                   both(local, tiny),
			"the server elsewhere":       func(v *verdict) { v.result.CPU.HostBusy = 0.99 },
		},
		"client-limited": {
			"no processor was idle": both(local, busyClient),
			"all refused":           both(busyClient, refused),
			"a moment":              both(busyClient, tiny),
		},
		"server-limited": {
			"nothing accepted":      both(busyServer, func(v *verdict) { v.result.Server.Accepted = 0 }),
			"no processor was idle": both(busyServer, local),
			"a client that is busy": both(busyServer, busyClient),
			"a moment":              both(busyServer, tiny),
		},
		"rate-missed": {"a closed loop": func(v *verdict) { v.result.Missed = 1000 }},
		"lagging": {"a closed loop": func(v *verdict) {
			v.result.Histograms[metrics.Connect] = metrics.Histogram{P50: 110_000, P99: 450_000}
		}},
		"noisy-host": {
			"a moment": both(tiny, func(v *verdict) { v.result.CPU.HostSteal, v.result.CPU.HostBusy = 0.5, 1 }),
			"a server that is lost": func(v *verdict) {
				v.result.CPU.HostBusy, v.result.CPU.Server, v.result.Server = 0.9, nil, nil
			},
			"the run's own work": both(local, own),
		},
		"other-traffic": {"a few of others": func(v *verdict) { v.moved["Tcp"]["ActiveOpens"] += 10 }},
	}
	for _, f := range flags {
		if len(cases[f.name]) == 0 {
			t.Errorf("%s: no case in which it must not appear", f.name)
		}
	}
	for name, all := range cases {
		for why, spoil := range all {
			v := sound()
			spoil(v)
			if slices.Contains(v.flags(), name) {
				t.Errorf("%s, though %s: %+v", name, why, v.result.Flags)
			}
		}
	}
	// Those of the processors have their evidence in each case: only the precondition keeps them back.
	for _, name := range []string{"shared-host", "client-limited", "server-limited"} {
		for why, spoil := range cases[name] {
			v := sound()
			spoil(v)
			for _, f := range flags {
				if f.name != name || name == "shared-host" && why == "the server elsewhere" {
					continue
				}
				told := false
				f.tell(&judgement{&v.stage, &v.result, &v.report, v.moved}, func(string, ...any) { told = true })
				if !told {
					t.Errorf("%s, %s: the case shows nothing, for it has no evidence", name, why)
				}
			}
		}
	}
}

func TestResolve(t *testing.T) {
	got, err := Resolve(t.Context(), "127.0.0.1:1,[::1]:2,127.0.0.1:1", "ip")
	if want := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort("[::1]:2")}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	for text, remedy := range map[string]string{
		"127.0.0.1": "HOST:PORT", "127.0.0.1:x": "port from 1", "127.0.0.1:0": "port from 1",
		":80": "host before", "::1:80": "brackets", "": "HOST:PORT",
	} {
		if _, err := Resolve(t.Context(), text, "ip"); err == nil || !strings.Contains(err.Error(), remedy) {
			t.Errorf("%q: %v, want a word on %q", text, err, remedy)
		}
	}
}

func TestLoopbackSources(t *testing.T) {
	loopback, remote := netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort("192.0.2.1:1")
	if n := len(LoopbackSources([]netip.AddrPort{loopback})); n != 254 {
		t.Errorf("%d sources to loopback", n)
	}
	for _, targets := range [][]netip.AddrPort{{remote}, {loopback, remote}, {netip.MustParseAddrPort("[::1]:1")}} {
		if s := LoopbackSources(targets); s != nil {
			t.Errorf("%d sources to %v", len(s), targets)
		}
	}
}

func TestRangesReadBackAsTheSources(t *testing.T) {
	const text = "127.0.0.9,127.0.1.1-127.0.1.254,127.0.3.1,127.0.3.3"
	s, err := pace.ParseSources(text)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(ranges(s), ","); got != text {
		t.Errorf("%s, want %s", got, text)
	}
}
