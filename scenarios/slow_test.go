package scenarios

import (
	"strings"
	"testing"
	"time"

	"tcpbench/metrics"
)

// A run that was too slow for its claim decides nothing, whatever its evidence says.
func TestSlowRunsDecideNothing(t *testing.T) {
	fact := func(name string, value float64) metrics.Value { return metrics.Value{Name: name, Value: value} }
	seen := func(facts ...metrics.Value) metrics.Result {
		return metrics.Result{Experiment: &metrics.Experiment{Facts: facts}}
	}
	ports := metrics.Host{Sysctls: map[string]string{"net.ipv4.ip_local_port_range": "20000 20999"}}
	lag := metrics.NewRecorder()
	lag.Record(1000)
	lags, err := lag.Export()
	if err != nil {
		t.Fatal(err)
	}
	bursts := func(late time.Duration) (r metrics.Result) {
		r.Tally = metrics.Tally{Attempted: 845, Succeeded: 845}
		for _, name := range []string{"fits", "twice", "tenfold"} {
			r.Phases = append(r.Phases, metrics.Phase{Name: name, Result: metrics.Result{
				FreezeLateNS: late.Nanoseconds(), Kernel: []metrics.Namespace{{Listeners: []metrics.Queue{{Limit: 64, Peak: 65}}}},
				Histograms: map[string]metrics.Histogram{metrics.ScheduleLag: lags},
			}})
		}
		return r
	}
	ended := seen()
	ended.Flags = []metrics.Flag{{Name: "unfinished", Why: "The next step did not come."}}
	for name, tt := range map[string]struct {
		scenario string
		result   metrics.Result
		why      string
	}{
		"half of the connections":        {"time-wait-exhaustion", metrics.Result{Host: ports, Tally: metrics.Tally{Attempted: 508, Succeeded: 508}}, "too few connections to decide: attempted > local_ports"},
		"a connection that timed out":    {"time-wait-exhaustion", metrics.Result{Host: ports, Tally: metrics.Tally{Attempted: 3000, Succeeded: 999, Failed: map[string]uint64{"exchange.timeout": 1, "connect.ports_exhausted": 2000}}}, "a connection timed out or was still open"},
		"a few of the connections":       {"fin-wait-2", metrics.Result{Tally: metrics.Tally{Attempted: 120, Succeeded: 120}}, "not all connections were made"},
		"not all of the connections":     {"close-wait-leak", metrics.Result{Tally: metrics.Tally{Attempted: 200, Succeeded: 190, Open: 10}}, "not all connections were made"},
		"a server that closed late":      {"three-way-close", seen(fact("segments", 4), fact("closed_within", 55e6)), "too slow to tell, because the kernel delays an ACK"},
		"a process that did not run":     {"keepalive", seen(fact("stalled", 6e8), fact("idle_before_probe", float64(time.Second)), fact("unreachable_after", 9e9)), "too slow to tell: seen.stalled"},
		"the same, for TIME_WAIT":        {"time-wait-length", seen(fact("stalled", 2e9), fact("life_at_60", 75e9), fact("life_at_5", 75e9)), "too slow to tell: seen.stalled"},
		"a step that did not come":       {"handshake", ended, "unfinished: The next step did not come."},
		"a story that found out less":    {"backlog", seen(fact("somaxconn", 8), fact("queued_half", 5)), "evidence is missing for seen.queued_same"},
		"a server that was stopped late": {"syn-burst", bursts(500 * time.Millisecond), "too slow to tell, because the server may have been stopped late"},
		"a kernel that nobody watched":   {"close-wait-leak", metrics.Result{Tally: metrics.Tally{Attempted: 200, Succeeded: 200}}, "evidence is missing for server.CLOSE_WAIT.last == 200"},
	} {
		s, ok := Find(tt.scenario)
		if !ok {
			t.Fatal(tt.scenario)
		}
		if v := s.Phenomenon.Judge(&tt.result); v.Outcome != metrics.Undecided || !strings.HasPrefix(v.Why, tt.why) {
			t.Errorf("%s, %s: %s %q, want %q", tt.scenario, name, v.Outcome, v.Why, tt.why)
		}
	}
}

// A link of more than a second from SYN to SYN+ACK changes no queue: each SYN comes a second time
// before its handshake ends. The listening socket drops it, though it has room.
func TestSlowConnectsChangeNoQueue(t *testing.T) {
	t.Parallel()
	reproduced(t, decided(t, func() *metrics.Result {
		return shown(t, "backlog", change{link: impaired(t, "delay=550ms", "delay=550ms"), settings: []string{"net.core.somaxconn=2"}})
	}))
}
