package scenarios

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"tcpbench/internal/alone"
	"tcpbench/internal/probe"
	"tcpbench/metrics"
	"tcpbench/scenarios/experiment"
	"tcpbench/scenarios/stage"
)

// slow are experiments that wait for the kernel's timers; their story is that of IPv4.
var slow = []string{"time-wait-length", "keepalive", "lost-last-ack", "accept-overflow"}

// What experiments claim holds over IPv6, too.
func TestExperimentsOverIPv6(t *testing.T) {
	for _, s := range Builtins() {
		if !s.Experiment() || slices.Contains(slow, s.Name) {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			s.OverIPv6()
			var own string
			r := decided(t, func() *metrics.Result {
				r, err := Run(t.Context(), s, Where{}, Options{}, Observer{Lab: func(v *stage.Venue) error {
					own = v.Lab.Client.V6.String()
					return nil
				}})
				if _, refused := probe.Explain(err); refused || errors.Is(err, experiment.ErrNoIPv6) {
					alone.Needed(t, err.Error())
				}
				if err != nil {
					t.Fatal(err)
				}
				return r
			})
			reproduced(t, r)
			if r.Experiment.Family != metrics.IPv6 || !strings.Contains(r.Experiment.Events[0].Text, own) {
				t.Errorf("the result does not tell of IPv6: %s, %+v", r.Experiment.Family, r.Experiment.Events[0])
			}
			for _, f := range r.Experiment.Facts { // 60 bytes of headers, of 1500
				if f.Name == "client_mss" && f.Value != 1440 {
					t.Errorf("the client's SYN announces %v bytes: not the MSS of IPv6", f.Value)
				}
			}
		})
	}
}

// The scenario that others find by that name stays one of IPv4.
func TestOverIPv6IsOfOneScenario(t *testing.T) {
	a, _ := Find("mss")
	a.OverIPv6()
	b, _ := Find("mss")
	if !a.Phenomenon.Experiment.IPv6 || b.Phenomenon.Experiment.IPv6 {
		t.Error("IPv6 is of both, or of none")
	}
}

// Where IPv6 is off an experiment says so, and what to do.
func TestExperimentWithoutIPv6(t *testing.T) {
	s, _ := Find("four-way-close")
	s.OverIPv6()
	off := profile(t, "off", "net.ipv6.conf.all.disable_ipv6=1")
	_, err := Run(t.Context(), s, Where{Lab: &Lab{Client: off, Server: off}}, Options{}, Observer{})
	if _, refused := probe.Explain(err); refused {
		alone.Needed(t, err.Error())
	}
	if !errors.Is(err, experiment.ErrNoIPv6) || !strings.Contains(err.Error(), "leave -6 out") {
		t.Errorf("%v", err)
	}
}
