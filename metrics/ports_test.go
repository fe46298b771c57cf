package metrics

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

func TestLocalPorts(t *testing.T) {
	for _, tt := range []struct {
		ports, reserved string
		want            int
	}{
		{"32768 60999", "", 28_232},
		{"20000 20000", "", 1},
		{"1024 65535", "8080,9000-9009", 64_512 - 11},
		{"20000 20999", "1-19999", 1000},
		{"20000 20999", "19990-20009,20999-21005", 989},
		{"20000 20999", "1-65535", 0},
		{"20999 20000", "", 0},
		{"20000", "", 0},
		{"x y", "", 0},
		{"", "", 0},
		{"20000 99999", "", 0},
	} {
		h := Host{Sysctls: map[string]string{"net.ipv4.ip_local_port_range": tt.ports, "net.ipv4.ip_local_reserved_ports": tt.reserved}}
		if got := h.LocalPorts(); got != tt.want {
			t.Errorf("%q without %q: %d, want %d", tt.ports, tt.reserved, got, tt.want)
		}
	}
	h := Host{Listening: "22,20005,20990-20995", Sysctls: map[string]string{
		"net.ipv4.ip_local_port_range": "20000 20999", "net.ipv4.ip_local_reserved_ports": "20990-20991", "net.ipv4.ip_unprivileged_port_start": "19998",
	}}
	for _, tt := range []struct{ low, high, want int }{
		{0, 0, 993}, {20000, 20099, 99}, {30000, 30099, 993}, {19000, 20099, 99}, {20900, 22000, 94}, // as Linux 6.18 gives them
	} {
		if got := h.LocalPortsWithin(tt.low, tt.high); got != tt.want {
			t.Errorf("%d to %d: %d, want %d", tt.low, tt.high, got, tt.want)
		}
	}
	if others := h.ServerPorts(); len(others) != 2+65536-21000 || others[0] != 19998 || others[2] != 21000 {
		t.Errorf("%d ports for servers, from %d on", len(others), others[0])
	}
	h.Sysctls["net.ipv4.ip_local_port_range"] = "1024 65535"
	if others := h.ServerPorts(); len(others) != 0 {
		t.Errorf("%d ports for servers beside those of clients, which have all", len(others))
	}
	if got := (&Host{}).LocalPorts(); got != 0 {
		t.Errorf("of nothing: %d", got)
	}
}

// Without returns the same quantiles as a recorder that never had the part.
func TestWithout(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all, part, rest := NewRecorder(), NewRecorder(), NewRecorder()
		for i, ns := range rapid.SliceOfN(rapid.Int64Range(1, 1e9), 0, 200).Draw(t, "ns") {
			all.Record(ns)
			if rapid.Bool().Draw(t, fmt.Sprint("part ", i)) {
				part.Record(ns)
			} else {
				rest.Record(ns)
			}
		}
		got := all.Without(part)
		if got.Count() != rest.Count() {
			t.Fatalf("%d values, want %d", got.Count(), rest.Count())
		}
		for _, q := range []float64{0, .5, .99, 1} {
			g, w := got.Quantile(q), rest.Quantile(q)
			if diff := g - w; diff > w/500+1 || -diff > w/500+1 {
				t.Fatalf("quantile %v: %d, want %d", q, g, w)
			}
		}
	})
}
