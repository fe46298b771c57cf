package diagnose

import (
	"maps"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tcpbench/metrics"
)

func host(changed map[string]string) *metrics.Host {
	sysctls := map[string]string{
		"fs.file-max": "1000000", "net.core.somaxconn": "4096", "net.ipv4.ip_local_port_range": "32768 60999",
		"net.ipv4.tcp_max_tw_buckets": "131072", "net.ipv4.tcp_tw_reuse": "2", "net.ipv4.tcp_tw_reuse_delay": "1000",
		"net.ipv4.tcp_timestamps": "1", "net.ipv4.tcp_mem": "187000 250000 375000",
	}
	maps.Copy(sysctls, changed)
	return &metrics.Host{CPUs: 2, MemoryByte: 16 << 30, Sysctls: sysctls}
}

func load() Load {
	return Load{Open: 64, Duration: 10 * time.Second, Spaces: 254, Ports: 28_232, ClientWaits: true, Loopback: true, Own: true, Queues: 2, PerProcess: 19_000}
}

func TestForecast(t *testing.T) {
	if all := Forecast(host(nil), load()); len(all) != 0 {
		t.Errorf("a load that will go well: %+v", all)
	}
	if all := Forecast(&metrics.Host{}, load()); len(all) != 0 {
		t.Errorf("a host of which nothing is known: %+v", all)
	}
	within := load()
	within.Chosen = [2]int{40_000, 49_999}
	if all := Forecast(host(nil), within); len(all) != 0 {
		t.Errorf("a range within the host's: %+v", all)
	}
	for _, tt := range []struct {
		name, want, says string
		settings         map[string]string
		change           func(*Load)
	}{
		{"a range outside of the host's", "local-ports-ignored", "connect() chooses from 28,232 ports", nil, func(l *Load) { l.Chosen = [2]int{20_000, 29_999} }},
		{"a range with one end outside", "local-ports-ignored", "(32768 to 60999)", nil, func(l *Load) { l.Chosen = [2]int{20_000, 33_000} }},
		{"a rate beyond one space", PortsExhausted, "At 1,000/s the ports run out after 28.2 s", nil, func(l *Load) {
			l.Rate, l.Spaces, l.Loopback, l.Duration = 1000, 1, false, time.Minute
		}},
		{"the same in a short run", "", "", nil, func(l *Load) { l.Rate, l.Spaces, l.Loopback, l.Duration = 1000, 1, false, 20*time.Second }},
		{"the same with reuse", "", "", map[string]string{"net.ipv4.tcp_tw_reuse": "1"}, func(l *Load) {
			l.Rate, l.Spaces, l.Loopback, l.Duration = 1000, 1, false, time.Minute
		}},
		{"reuse without timestamps", PortsExhausted, "60 s", map[string]string{"net.ipv4.tcp_tw_reuse": "1", "net.ipv4.tcp_timestamps": "0"}, func(l *Load) {
			l.Rate, l.Spaces, l.Duration = 1000, 1, time.Minute
		}},
		{"a server that closes", "", "", nil, func(l *Load) {
			l.Rate, l.Spaces, l.Loopback, l.Duration, l.ClientWaits = 1000, 1, false, time.Minute, false
		}},
		{"a closed loop on one space", PortsExhausted, "after 28,232 connections", nil, func(l *Load) { l.Spaces, l.Loopback = 1, false }},
		{"a closed loop of few", "", "", nil, func(l *Load) { l.Spaces, l.Loopback, l.Count, l.Duration = 1, false, 20_000, 0 }},
		{"a population beyond the ports", PortsExhausted, "there are 28,232", nil, func(l *Load) { l.Open, l.Count, l.Spaces = 30_000, 30_000, 1 }},
		{"descriptors of the system", Descriptors, "1,200,000 descriptors", nil, func(l *Load) { l.Open, l.Count = 600_000, 600_000 }},
		{"descriptors of processes", Descriptors, "more than 64 processes", map[string]string{"fs.file-max": "100000000"}, func(l *Load) {
			l.Open, l.Count, l.Own, l.PerProcess = 100_000, 100_000, false, 1000
		}},
		{"memory", Memory, "19.4 GiB", map[string]string{"fs.file-max": "100000000"}, func(l *Load) { l.Open, l.Count = 2_000_000, 2_000_000 }},
		{"large messages", "tcp-memory", "490,000 pages", nil, func(l *Load) { l.Open, l.Count, l.Message = 2000, 2000, 1_000_000 }},
		{"small messages", "", "", nil, func(l *Load) { l.Open, l.Count, l.Message = 500_000, 500_000, 4096 }},
		{"the table of TIME_WAIT", TimeWaitTable, "after 6.55 s", nil, func(l *Load) { l.Rate = 20_000 }},
		{"the server's table of TIME_WAIT", TimeWaitTable, "after 6.55 s", nil, func(l *Load) { l.Rate, l.ClientWaits, l.ServerWaits = 20_000, false, true }},
		{"a table that is large enough", "", "", nil, func(l *Load) { l.Rate, l.Duration = 20_000, 5*time.Second }},
		{"a burst beyond the queues", AcceptQueue, "2 of 129", nil, func(l *Load) { l.Burst, l.Backlog = 5000, 128 }},
		{"a burst that fits", "", "", nil, func(l *Load) { l.Burst, l.Backlog = 258, 128 }},
		{"a backlog that is cut", "backlog-cut", "cut to 4,096", nil, func(l *Load) { l.Backlog = 10_000 }},
		{"connection tracking", "conntrack-table", "100,000", map[string]string{"net.netfilter.nf_conntrack_max": "65536", "net.netfilter.nf_conntrack_count": "7"}, func(l *Load) { l.Rate = 10_000 }},
		{"rules that track nothing", "", "", map[string]string{"net.netfilter.nf_conntrack_max": "65536", "net.netfilter.nf_conntrack_count": "0"}, func(l *Load) { l.Rate = 10_000 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := load()
			tt.change(&l)
			all := Forecast(host(tt.settings), l)
			if tt.want == "" {
				if len(all) != 0 {
					t.Errorf("%+v, want nothing", all)
				}
				return
			}
			if len(all) != 1 || all[0].Name != tt.want {
				t.Fatalf("%+v, want %s alone", all, tt.want)
			}
			if !strings.Contains(all[0].What, tt.says) {
				t.Errorf("%q does not say %q", all[0].What, tt.says)
			}
			whole(t, &all[0])
		})
	}
}

// The arithmetic agrees with a model in which each connection takes a port for a time.
func TestExhaustionAgreesWithAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := Load{
			Rate: float64(rapid.IntRange(1, 2000).Draw(t, "rate")), Spaces: rapid.IntRange(1, 4).Draw(t, "spaces"),
			Ports: rapid.IntRange(1, 2000).Draw(t, "ports"), ClientWaits: true, Duration: 2 * time.Minute,
		}
		reuse := rapid.Bool().Draw(t, "reuse")
		settings, stay := map[string]string{"net.ipv4.tcp_tw_reuse": "0"}, 60.0
		if reuse {
			settings, stay = map[string]string{"net.ipv4.tcp_tw_reuse": "1"}, 1.0
		}
		predicted := -1.0
		if f := portsWillRunOut(host(settings), &l); f != nil {
			predicted, _ = f.Of(timeToExhaustion)
		}
		// A connection at each k/rate; the oldest port is free first.
		free, seen := l.Spaces*l.Ports, -1.0
		var taken []float64
		for k := 0; ; k++ {
			now := float64(k) / l.Rate
			if now > l.Duration.Seconds() {
				break
			}
			for len(taken) > 0 && taken[0]+stay <= now {
				taken, free = taken[1:], free+1
			}
			if free == 0 {
				seen = now
				break
			}
			taken, free = append(taken, now), free-1
		}
		// At the edge the model's rounding decides.
		if edge := float64(l.Spaces*l.Ports) / stay; l.Rate > 0.99*edge && l.Rate < 1.01*edge {
			return
		}
		if seen < 0 != (predicted < 0) || seen >= 0 && (predicted < seen-1/l.Rate || predicted > seen+1/l.Rate) {
			t.Fatalf("%+v: predicted %v, the model says %v", l, predicted, seen)
		}
	})
}

func TestCapacities(t *testing.T) {
	got := map[string]float64{}
	for _, c := range Capacities(host(map[string]string{"net.ipv4.tcp_syncookies": "0", "net.ipv4.tcp_max_syn_backlog": "512", "net.netfilter.nf_conntrack_max": "65536"})) {
		got[c.What] = c.Value
		if c.From == "" {
			t.Errorf("%s: from nothing", c.What)
		}
	}
	for what, want := range map[string]float64{
		"connections at once from one address to one destination":      28_232,
		"… opened and closed by the client to another host":            28_232.0 / 60,
		"… opened and closed by the client over loopback":              28_232,
		"closes whose TIME_WAIT is kept in full":                       131_072.0 / 60,
		"half-open connections of one listening socket, for new peers": 384,
		"tracked connections":                                          65_536,
	} {
		if got[what] != want {
			t.Errorf("%s: %v, want %v", what, got[what], want)
		}
	}
	if all := Capacities(&metrics.Host{}); len(all) != 0 {
		t.Errorf("a host of which nothing is known: %+v", all)
	}
}

func TestTraps(t *testing.T) {
	if all := Traps(&metrics.Host{}); len(all) != 0 {
		t.Errorf("%+v", all)
	}
	names := ""
	trapped := host(map[string]string{"net.ipv4.tcp_syncookies": "2", "net.ipv4.tcp_abort_on_overflow": "1"})
	trapped.Load[0] = 2.5
	for _, f := range Traps(trapped) {
		names += f.Name + " "
		whole(t, &f)
	}
	if names != "loopback-reuse cookies-always abort-on-overflow busy-host " {
		t.Error(names)
	}
}
