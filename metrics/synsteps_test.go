package metrics

import (
	"slices"
	"testing"
	"time"
)

func TestSYNSteps(t *testing.T) {
	const s = time.Second
	for _, tt := range []struct {
		retries, linear, longest, syncnt string
		want                             []time.Duration
	}{
		{retries: "4", want: []time.Duration{s, 3 * s, 7 * s, 15 * s}}, // Linux before 6.5
		{"4", "0", "120000", "", []time.Duration{s, 3 * s, 7 * s, 15 * s}},
		{"7", "4", "120000", "", []time.Duration{s, 2 * s, 3 * s, 4 * s, 5 * s, 7 * s, 11 * s}}, // ip-sysctl.rst
		{"4", "0", "1000", "", []time.Duration{s, 2 * s, 3 * s, 4 * s}},
		{"6", "0", "120000", "2", []time.Duration{s, 3 * s}},
	} {
		r := &Result{Host: Host{Sysctls: map[string]string{}}, Scenario: Scenario{Settings: map[string]string{"syncnt": tt.syncnt}}}
		for key, value := range map[string]string{"net.ipv4.tcp_syn_retries": tt.retries, "net.ipv4.tcp_syn_linear_timeouts": tt.linear, "net.ipv4.tcp_rto_max_ms": tt.longest} {
			if value != "" {
				r.Host.Sysctls[key] = value
			}
		}
		if got := synSteps(r); !slices.Equal(got, tt.want) {
			t.Errorf("%+v: %v", tt, got)
		}
	}
}

// Connects are sorted by the steps that follow from the settings. There is no sample if the machine is
// too slow.
func TestConnectSteps(t *testing.T) {
	const ms = int64(time.Millisecond)
	for _, tt := range []struct {
		name      string
		linear    string
		late      []int64 // besides 70 that lost no SYN
		usual     int64
		seen, off int64
		ok        bool
	}{
		{"doubling", "0", []int64{1010 * ms, 1030 * ms, 3040 * ms, 7300 * ms}, ms, 3, 0, true},
		{"linear", "4", []int64{1010 * ms, 2020 * ms, 3030 * ms, 7100 * ms}, ms, 4, 0, true},
		{"doubling, and the setting says linear", "4", []int64{1010 * ms, 3030 * ms, 15100 * ms}, ms, 2, 1, true},
		{"linear, and the setting says doubling", "0", []int64{1010 * ms, 2020 * ms}, ms, 1, 1, true},
		{"a first timeout of half a second", "0", slices.Repeat([]int64{505 * ms}, 20), ms, 0, 20, true},
		{"sooner than those that lost no SYN", "0", []int64{1003 * ms, 3004 * ms}, 20 * ms, 2, 0, true},
		{"a tick early", "0", []int64{996 * ms}, ms, 1, 0, true},
		{"early", "0", []int64{950 * ms}, ms, 0, 1, true},
		{"a slow machine", "0", []int64{1200 * ms, 3700 * ms}, 100 * ms, 2, 0, true},
		{"too slow to tell", "0", []int64{1900 * ms}, 200 * ms, 0, 0, false},
	} {
		times := []int64{ms}
		for range 70 {
			times = append(times, tt.usual)
		}
		r := &Result{
			Host:       Host{Sysctls: map[string]string{"net.ipv4.tcp_syn_retries": "6", "net.ipv4.tcp_syn_linear_timeouts": tt.linear}},
			Histograms: map[string]Histogram{Connect: export(t, recorderOf(append(times, tt.late...)))},
		}
		if seen, off, ok := connectSteps(r); seen != tt.seen || off != tt.off || ok != tt.ok {
			t.Errorf("%s: %d steps, %d at none, %v", tt.name, seen, off, ok)
		}
	}
}
