package scenarios

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"tcpbench/internal/child"
	"tcpbench/loadgen"
	"tcpbench/metrics"
	"tcpbench/metrics/kernel"
	"tcpbench/server"
)

// verdict is what a run is judged by; sound returns one to which nothing is to be said.
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
			Client: loadgen.Config{Process: loadgen.Closed, Connections: 64, Targets: []netip.AddrPort{remote}},
			Server: &server.Config{Loops: 2},
		}},
		report: metrics.ClientReport{
			SYNs: 1100, Established: 1100, ElapsedNS: second,
			UserNS: second / 20, SystemNS: second / 5,
			Loops: []metrics.LoopReport{{BusyNS: second / 4}, {BusyNS: second / 4}},
		},
		moved: kernel.Moved{"Tcp": {"ActiveOpens": 1100}},
	}
	v.stage.from.server = &child.Usage{}
	v.stage.to.server = &child.Usage{SystemNS: second / 5}
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
			v.result.Kernel = []metrics.View{{Spaces: &metrics.Spaces{Left: 3}}}
		}, "spaces-left-out"},
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

func TestResolve(t *testing.T) {
	got, err := Resolve(t.Context(), "127.0.0.1:1,[::1]:2,127.0.0.1:1", "ip")
	if want := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort("[::1]:2")}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	for text, remedy := range map[string]string{
		"127.0.0.1": "HOST:PORT", "127.0.0.1:x": "port from 1", "127.0.0.1:0": "port from 1",
		":80": "host in front", "::1:80": "brackets", "": "HOST:PORT",
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
	s, err := loadgen.ParseSources(text)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(ranges(s), ","); got != text {
		t.Errorf("%s, want %s", got, text)
	}
}
