package file

import (
	"strings"
	"testing"

	"tcpbench/internal/machine"
	"tcpbench/internal/probe"
)

// What a machine refuses decides whether a scenario can be run there, and the first thing that
// is missing is the reason.
func TestHere(t *testing.T) {
	noLab, noLink, noSettings := &probe.Refusal{Because: "no lab"}, &probe.Refusal{Because: "no link"}, &probe.Refusal{Because: "no settings"}
	setting := []machine.Setting{{Key: "net.core.somaxconn", Value: "5"}}
	says := func(r *probe.Refusal) func() *probe.Refusal { return func() *probe.Refusal { return r } }
	for _, c := range []struct {
		r                  Requirements
		lab, link, setting *probe.Refusal
		here               Here
		why                *probe.Refusal
	}{
		{Requirements{}, noLab, noLink, noSettings, Runs, nil},
		{Requirements{Lab: true}, nil, noLink, noSettings, Runs, nil},
		{Requirements{Lab: true}, noLab, noLink, noSettings, CannotRun, noLab},
		{Requirements{Lab: true, Link: true}, nil, noLink, nil, CannotRun, noLink},
		{Requirements{Lab: true, Link: true}, nil, nil, noSettings, Runs, nil},
		{Requirements{Lab: true, Settings: setting}, nil, noLink, noSettings, CannotRun, noSettings},
		{Requirements{Lab: true, Settings: setting, Loopback: true}, nil, nil, noSettings, RunsLoopback, noSettings},
		{Requirements{Lab: true, Link: true, Loopback: true}, noLab, noLab, noLab, RunsLoopback, noLab},
		{Requirements{Lab: true, Link: true, Loopback: true}, nil, nil, nil, Runs, nil},
	} {
		if here, why := c.r.Here(says(c.lab), says(c.link), func([]machine.Setting) *probe.Refusal { return c.setting }); here != c.here || why != c.why {
			t.Errorf("%+v: %s, %v; want %s, %v", c.r, here, why, c.here, c.why)
		}
	}
}

// The requirements of the catalogue follow from its files and its experiments.
func TestRequires(t *testing.T) {
	for name, want := range map[string]struct {
		lab, link bool
		setting   string // one of those
	}{
		"short":                {},
		"handshake":            {true, true, ""},
		"close-wait-leak":      {true, false, ""},
		"retransmit":           {true, true, ""},
		"heartbeat-designs":    {true, true, ""},
		"time-wait-exhaustion": {true, false, "net.ipv4.ip_local_port_range"},
		"time-wait-remedies":   {true, false, "net.ipv4.tcp_max_tw_buckets"}, // of a phase
		"time-wait-length":     {true, true, "net.ipv4.tcp_fin_timeout"},     // of the experiment
		"accept-overflow":      {true, true, "net.ipv4.tcp_abort_on_overflow"},
	} {
		r := catalogued(t, name).Requires()
		var keys []string
		for _, set := range r.Settings {
			keys = append(keys, set.Key)
		}
		if r.Lab != want.lab || r.Link != want.link || !strings.Contains(strings.Join(keys, " "), want.setting) || want.setting == "" && len(keys) > 0 {
			t.Errorf("%s: %+v", name, r)
		}
	}
}
