package expect

import (
	"slices"
	"strings"
	"testing"

	"tcpbench/internal/kernel/sockdiag"
	"tcpbench/metrics"
)

func recorded(t testing.TB, ns ...int64) metrics.Histogram {
	t.Helper()
	r := metrics.NewRecorder()
	for _, v := range ns {
		r.Record(v)
	}
	h, err := r.Export()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func sockets(t testing.TB, n int64) metrics.Histogram {
	t.Helper()
	r := metrics.NewCountRecorder(metrics.SocketsUnit)
	r.Record(n)
	h, err := r.Export()
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// judged has a different number for every quantity.
func judged(t testing.TB) *metrics.Result {
	intended := 2000.0
	return &metrics.Result{
		ElapsedS: 10, Rate: 1500, RateOffered: 1900, RateIntended: &intended,
		Tally: metrics.Tally{Attempted: 100, Succeeded: 90, Open: 3, Missed: 5, Failed: map[string]uint64{
			"connect.refused": 2, "connect.timeout": 1, "exchange.timeout": 4,
		}},
		Histograms: map[string]metrics.Histogram{metrics.Connect: recorded(t, 1e6, 2e6, 3e6, 4e6), metrics.TimeWaitSockets: sockets(t, 9)},
		Population: &metrics.Population{Held: 80, RampS: 1.5, OpenedPerS: 53, HeartbeatsPerS: 40},
		Beats:      &metrics.Beats{Sent: 30, Answered: 29, Missed: 1},
		CPU:        metrics.CPU{Client: &metrics.Usage{PerConnection: 40, PerOpened: 41, PerHeartbeat: 42}, HostBusy: 0.5, HostSteal: 0.01},
		Server:     &metrics.ServerReport{Accepted: 97, Open: 6, Exchanges: 90},
		Flags:      []metrics.Flag{{Name: "client-limited"}},
		Findings:   []metrics.Finding{{Name: "accept-queue-overflow"}},
		Kernel: []metrics.Namespace{{
			Of: "both", Counters: map[string]map[string]int64{"TcpExt": {"ListenOverflows": 17}, "Tcp": {"ActiveOpens": 100}},
			Timeline: metrics.Timeline{T: []float64{0, 1, 2}, Sockets: map[string][]int64{"client.TIME_WAIT": {0, 9, 7}}},
		}},
	}
}

func TestExpectations(t *testing.T) {
	for _, tt := range []struct {
		text string
		pass bool
	}{
		{"attempted == 100", true},
		{"succeeded + failed + open == attempted", true},
		{"failed == 7 && missed == 5", true},
		{"failed.timeout == 5", true},
		{"failed.connect.timeout == 1", true},
		{"failed.ports_exhausted == 0", true},
		{"rate > 1.4k and rate < 2k", true},
		{"rate_offered / rate_intended >= 0.95", true},
		{"rate > 0.01M", false},
		{"elapsed == 10s", true},
		{"connect.p50 >= 2ms && connect.p50 < 2.01ms", true},
		{"connect.p99 < 4100us", true},
		{"connect.p75 <= 3.1ms", true},
		{"connect.max < 3999µs", false},
		{"connect.mean > 2.4ms && connect.mean < 2.6ms", true},
		{"connect.count == 4", true},
		{"lifetime.count == 0", true},
		{"connect.p99 - connect.p50 < 1s", true},
		{"2 * connect.p50 < 4.01ms", true},
		{"connect.max / connect.min < 5", true},
		{"connect.min > 0", true},
		{"held == 80 && ramp < 2s", true},
		{"rate_opened == 53 && rate_heartbeats == 40", true},
		{"cpu.client_per_opened == 41us && cpu.client_per_heartbeat < 50us", true},
		{"beats.missed / beats.sent < 0.05", true},
		{"cpu.client < 50us && cpu.busy < 0.9 && cpu.steal < 0.02", true},
		{"server.accepted == 97 and server.open == 6 and server.exchanges == 90", true},
		{"TcpExt.ListenOverflows == 17 and TcpExt.ListenDrops < 1 and Tcp.ActiveOpens == 100", true},
		{"client.TIME_WAIT.max == 9 and client.TIME_WAIT.last == 7 and server.CLOSE_WAIT.max == 0", true},
		{"time_wait.max < 100 and ports_in_use.count == 0", true},
		{`found("accept-queue-overflow") and not found("resets")`, true},
		{`flagged("client-limited")`, true},
		{`not flagged('shared-host')`, true},
		{"max(failed, open) == 7 && min(failed, open) == 3 && abs(open - failed) == 4", true},
		{"(rate > 1k ? failed < 10 : failed == 0)", true},
		{"!(failed > 0)", false},
	} {
		e, err := Parse(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		v := e.Judge(judged(t))
		if v.Pass != tt.pass || v.Reason != "" || v.Expression != tt.text {
			t.Errorf("%s: %+v", tt.text, v)
		}
	}
}

// An expectation of something that was not measured fails.
func TestExpectationsWithoutASampleFail(t *testing.T) {
	bare := &metrics.Result{}
	for text, missing := range map[string]string{
		"connect.p99 < 5ms":           "connect.p99",
		"lifetime.max < 1s or true":   "lifetime.max",
		"rate_intended > 0":           "rate_intended",
		"beats.missed == 0":           "beats.missed",
		"cpu.server < 1ms":            "cpu.server",
		"server.open == 0":            "server.open",
		"TcpExt.ListenDrops == 0":     "TcpExt.ListenDrops",
		"server.CLOSE_WAIT.last == 0": "server.CLOSE_WAIT.last",
		"time_wait.max == 0":          "time_wait.max",
		"rate == 0":                   "rate",
		"held == 0 and ramp < 1s":     "held, ramp",
		"rate_heartbeats > 0":         "rate_heartbeats",
		"cpu.client + cpu.server > 0": "cpu.client, cpu.server",
	} {
		e, err := Parse(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if v := e.Judge(bare); v.Pass || v.Reason != "no sample: "+missing {
			t.Errorf("%s: %+v", text, v)
		}
	}
}

func TestExpectationsSayWhatWasMeasured(t *testing.T) {
	e, err := Parse("connect.p50 < 1ms && rate > 1k && cpu.busy < 0.1 && failed == 0 && rate < 1M")
	if err != nil {
		t.Fatal(err)
	}
	v := e.Judge(judged(t))
	want := []metrics.Value{{Name: "connect.p50", Value: 2e6, Unit: "ns"}, {Name: "rate", Value: 1500, Unit: "1/s"},
		{Name: "cpu.busy", Value: 0.5, Unit: "share"}, {Name: "failed", Value: 7}}
	if v.Pass || len(v.Values) != len(want) {
		t.Fatalf("%+v", v)
	}
	for i := range want {
		got := v.Values[i]
		if got.Name != want[i].Name || got.Unit != want[i].Unit || got.Value/want[i].Value > 1.001 || got.Value/want[i].Value < 0.999 {
			t.Errorf("%+v, want %+v", got, want[i])
		}
	}
}

func TestMistakesInExpectations(t *testing.T) {
	for _, tt := range []struct {
		text   string
		column int
		want   string
	}{
		{"", 1, ""},
		{"1 > TcpExt.ListenOverflow", 5, "this kernel has no counter TcpExt.ListenOverflow: did you mean TcpExt.ListenOverflows?"},
		{"client.TIME_WAITS.max > 1", 1, "unknown name"},
		{"rte > 1", 1, `unknown name "rte": did you mean rate?`},
		{"rate > 1 && conect.p99 < 1ms", 13, "did you mean connect.p99?"},
		{"connect.p99 < 5", 15, "a time has a unit"},
		{"5 > connect.p99", 5, "a time has a unit"},
		{"connect.p99 + 1 < 5ms", 15, "a time has a unit"},
		{"connect.p99 < rate", 15, "cannot be compared"},
		{"rate > 5ms", 8, "cannot be compared"},
		{"connect.p99 < 5mz", 15, `unknown unit in "5mz"`},
		{"connect.p9 < 5ms", 1, "want a histogram and one of"},
		{"connect < 5ms", 1, "want a histogram and one of"},
		{"failed.refusd == 0", 1, "did you mean failed.refused?"},
		{"rate", 1, "bool"},
		{"rate + 1", 1, "bool"},
		{"rate >", 0, ""},
		{"rate > 1 rate", 0, ""},
		{`"a" matches "("`, 0, ""},
		{`"a" == "a" and flagged("x") matches "b"`, 0, ""},
		{"1..3 == 2", 0, ""},
		{"[1, 2] == [1]", 0, ""},
		{"all(1..1000000, true)", 0, ""},
		{"let x = 1; x == 1", 0, ""},
		{"flagged(1)", 0, ""},
		{"len('x') == 1", 0, ""},
		{strings.Repeat("(", 300) + "true" + strings.Repeat(")", 300), 0, ""},
		{strings.Repeat("rate > 1 and ", 70) + "true", 0, ""},
		{strings.Repeat("x", 2000), 1, "want 1000 at most"},
	} {
		_, err := Parse(tt.text)
		at, ok := err.(Error)
		if !ok || !strings.Contains(err.Error(), tt.want) || tt.column > 0 && at.Column != tt.column {
			if tt.want == "" && tt.column == 0 && err == nil && strings.HasPrefix(tt.text, "((") {
				continue // brackets alone do no harm
			}
			t.Errorf("%.40s: column %d: %v; want column %d: %s", tt.text, at.Column, err, tt.column, tt.want)
		}
		if err != nil && (strings.Contains(err.Error(), variablePrefix) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%.40s: the error is not for people: %v", tt.text, err)
		}
	}
}

// Every name that a mistake may suggest is known.
func TestNames(t *testing.T) {
	for _, name := range names() {
		q, err := find(name, nil)
		if err != nil || q.Name != name {
			t.Errorf("%s: %+v, %v", name, q, err)
			continue
		}
		use := name + " >= 0"
		if q.Unit == metrics.Text {
			use = name + ` == "x"`
		}
		if _, err := Parse(use); err != nil {
			t.Errorf("%s: %v", use, err)
		}
	}
}

// The states that quantities name are the kernel's.
func TestStates(t *testing.T) {
	for s := sockdiag.State(1); s < sockdiag.States; s++ {
		if !slices.Contains(metrics.TCPStates, s.String()) {
			t.Errorf("no quantity names %s", s)
		}
	}
}

func FuzzExpectation(f *testing.F) {
	for _, seed := range []string{"connect.p99 < 5ms && rate > 10k", "failed.connect.refused == 0 or not flagged(\"x\")",
		"max(1, 2) / 0 > 1e308", "((rate))", "'\\'", "5µs < connect.p50", "rate ?? 1 > 0", "#.x"} {
		f.Add(seed)
	}
	r := judged(f)
	f.Fuzz(func(t *testing.T, text string) {
		e, err := Parse(text)
		if err != nil {
			if at, ok := err.(Error); !ok || at.Column < 1 {
				t.Errorf("%q: %v", text, err)
			}
			return
		}
		e.Judge(r)
		e.Judge(&metrics.Result{})
	})
}
