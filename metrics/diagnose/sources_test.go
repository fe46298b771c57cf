package diagnose

import (
	"strings"
	"testing"

	"tcpbench/metrics"
)

// On loopback every address exists already, but a server may refuse it.
func TestMoreSourcesAreNamed(t *testing.T) {
	const remedy, warning = "--sources 127.0.0.2-127.0.0.65", "some servers accept only"
	named := func(f *metrics.Finding) bool {
		for _, r := range f.Remedies {
			if strings.Contains(r.Do, remedy) && strings.Contains(r.Cost, warning) {
				return true
			}
		}
		return false
	}
	for _, tt := range []struct {
		targets []string
		want    bool
	}{
		{[]string{"127.0.0.1:6379"}, true}, {[]string{"127.0.0.1:6379", "127.9.9.9:1"}, true},
		{[]string{"127.0.0.1:6379", "192.0.2.1:1"}, false}, {[]string{"[::1]:6379"}, false}, {nil, false},
	} {
		r := &metrics.Result{Scenario: metrics.Scenario{Target: tt.targets}}
		r.Failed = map[string]uint64{"connect.ports_exhausted": 1}
		if got := named(portsExhausted(r)); got != tt.want {
			t.Errorf("to %v: %v, want %v", tt.targets, got, tt.want)
		}
	}
	for _, loopback := range []bool{true, false} {
		f := portsWillRunOut(&metrics.Host{}, &Load{Open: 30_000, Spaces: 1, Ports: 28_232, Loopback4: loopback})
		if got := named(f); got != loopback {
			t.Errorf("forecast on loopback %v: %v", loopback, got)
		}
	}
}
