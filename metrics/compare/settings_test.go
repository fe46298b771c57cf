package compare

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"tcpbench/metrics"
)

func inLab(s Side, client, server metrics.LabHost) Side {
	for _, r := range s.Results {
		r.Lab = &metrics.Lab{Client: client, Server: server}
	}
	return s
}

func set(key, value, outcome, now string) metrics.LabSetting {
	return metrics.LabSetting{Key: key, Value: value, Outcome: outcome, Now: now}
}

// The values in effect are compared: a profile that sets the defaults differs in nothing.
func TestEffectiveValues(t *testing.T) {
	random := rand.New(rand.NewPCG(21, 22))
	plain := metrics.LabHost{Settings: []metrics.LabSetting{}, Values: map[string]string{"net.core.somaxconn": "4096", "net.ipv4.tcp_mem": "1 2 3", "net.ipv4.tcp_fin_timeout": "60"}}
	host := metrics.LabHost{Settings: []metrics.LabSetting{
		set("net.core.somaxconn", "4096", "applied", "4096"), set("net.ipv4.tcp_mem", "1 2 3", "global", "1 2 3"),
		set("net.ipv4.tcp_fin_timeout", "30", "applied", "30"), set("net.ipv4.tcp_tw_recycle", "1", "unknown", ""),
	}}
	for name, tt := range map[string]struct {
		a, b metrics.LabHost // of the server too
		bs   metrics.LabHost
		want string
	}{
		"both hosts": {plain, host, host, "net.ipv4.tcp_fin_timeout: 60 | 30\n" +
			"settings that not all sides tell:  | client net.ipv4.tcp_tw_recycle, server net.ipv4.tcp_tw_recycle\n"},
		"the server alone": {plain, plain, host, "server net.ipv4.tcp_fin_timeout: 60 | 30\n" +
			"settings that not all sides tell:  | server net.ipv4.tcp_tw_recycle\n"},
		"the same": {plain, plain, plain, ""},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := inLab(side("A", random, 2, 1), tt.a, tt.a), inLab(side("B", random, 2, 1), tt.b, tt.bs)
			if got := told(Differences([]Side{a, b})); got != tt.want {
				t.Errorf("got\n%swant\n%s", got, tt.want)
			}
			same := false
			for _, c := range cautions([]Side{a, b}) {
				same = same || strings.Contains(c.Text, "compares a thing with itself")
			}
			if same != (tt.want == "") {
				t.Errorf("same settings: %v", same)
			}
		})
	}
}

// A setting that the kernel did not take is listed with its reason.
func TestUnapplied(t *testing.T) {
	random := rand.New(rand.NewPCG(23, 24))
	both := []metrics.LabSetting{
		set("net.ipv4.tcp_tw_recycle", "1", "unknown", ""), set("vm.swappiness", "10", "global", "60"),
		set("net.core.rmem_max", "9", "read-only", "4"), set("net.ipv4.tcp_rmem", "1 1 1", "changed", "2 2 2"),
		set("net.ipv4.tcp_sack", "1", "applied", "1"), set("fs.file-max", "7", "global", "7"),
	}
	refused := metrics.LabSetting{Key: "net.core.somaxconn", Value: "-1", Outcome: "refused", Why: "invalid argument", Now: "4096"}
	b := inLab(side("B", random, 3, 1), metrics.LabHost{Settings: both}, metrics.LabHost{Settings: append(both[:6:6], refused)})
	got := ""
	for _, u := range Of([]Side{side("A", random, 3, 1), b}).Unapplied {
		got += fmt.Sprintln(u.Side, u.Host, u.Key, "=", u.Value+":", u.Reason)
	}
	if want := `B both net.ipv4.tcp_tw_recycle = 1: this kernel has no such setting
B both vm.swappiness = 10: it is the machine's, and no namespace has its own; it is 60
B both net.core.rmem_max = 9: it is the machine's, and a namespace may only read it; it is 4
B both net.ipv4.tcp_rmem = 1 1 1: the kernel made another value of it; it is 2 2 2
B server net.core.somaxconn = -1: the kernel refuses the value (invalid argument); it is 4096
`; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// The cautions of a whole comparison come first.
func TestCautions(t *testing.T) {
	random := rand.New(rand.NewPCG(25, 26))
	flagged := func(name string, n int) Side {
		s := side("A", random, 4, 1)
		for _, r := range s.Results[:n] {
			r.Flags = append(r.Flags, metrics.Flag{Name: name, Why: "Because."})
		}
		return s
	}
	old := side("B", random, 4, 1)
	old.Results[2].Kernel[0].Timeline.Sockets["tw"] = []int64{9_000, 20_000}
	for name, tt := range map[string]struct {
		a, b  Side
		want  string
		alarm bool
	}{
		"none":           {flagged("shared-host", 4), flagged("invalid", 0), "", false},
		"all invalid":    {flagged("invalid", 4), flagged("invalid", 4), "All results are invalid, so nothing below can be believed. The last one: Because.", true},
		"some invalid":   {flagged("invalid", 0), flagged("invalid", 1), "invalid: results 1 of 4 of B. The last one: Because.", true},
		"noisy":          {flagged("noisy-host", 3), flagged("noisy-host", 1), "noisy-host: results 3 of 4 of A, 1 of 4 of B. The last one: Because.", false},
		"client-limited": {flagged("client-limited", 4), flagged("client-limited", 4), "client-limited: results 4 of 4 of A, 4 of 4 of B. The last one: Because.", false},
		"late":           {flagged("lagging", 1), flagged("late-link", 0), "lagging: results 1 of 4 of A. The last one: Because.", false},
		"leftovers": {flagged("", 0), old, "1 of 4 results of B began with sockets of earlier runs in TIME_WAIT, up to 9000: they take ports and memory. " +
			"Run in labs (tcpbench compare), or wait a minute before each run.", false},
	} {
		t.Run(name, func(t *testing.T) {
			got, alarm := "", false
			for _, c := range cautions([]Side{tt.a, tt.b}) {
				got, alarm = got+c.Text, alarm || c.Alarm
			}
			if got != tt.want || alarm != tt.alarm {
				t.Errorf("got %q, %v", got, alarm)
			}
		})
	}
}
