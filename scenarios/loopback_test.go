package scenarios

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"tcpbench/internal/kernel/sysinfo"
	"tcpbench/metrics"
	"tcpbench/scenarios/experiment/bench"
)

// ofLoopback are those that can be shown without a lab, and what takes the mechanism of each
// away. The options of the file stay where none is named.
var ofLoopback = map[string]change{
	"mss":                  {fails: "seen.server_mss == 700", server: bench.Options{"TCP_MAXSEG": 1400}},
	"self-connect":         {fails: "seen.connected_to_itself == 1"},                             // as below
	"backlog":              {fails: "seen.queued_4 ==", server: bench.Options{"IP_MINTTL": 255}}, // SYNs of a smaller TTL are dropped, and nothing is queued
	"zero-window":          {fails: "seen.probe_timer == 1", server: bench.Options{"SO_RCVBUF": 200_000}},
	"heartbeat-designs":    {fails: "seen.answered_stopped_client >=", server: bench.Options{"SO_RCVLOWAT": 1000}}, // the server hears no beat
	"rst-close":            {fails: "seen.lost > 0", server: bench.Options{"SO_RCVBUF": 200_000}},
	"close-wait-leak":      {fails: "server.CLOSE_WAIT.last == 200", args: "--close client"},
	"fin-wait-2":           {fails: "client.FIN_WAIT2.last < 0.9 * succeeded", args: "--fin-timeout 60s"},
	"time-wait-length":     {fails: "seen.life_default >= 59s", client: bench.Options{"TCP_LINGER2": -1}}, // there is no FIN_WAIT_2, and so no TIME_WAIT
	"ephemeral-port-theft": {fails: "seen.bound > 0", client: bench.Options{"IP_BIND_ADDRESS_NO_PORT": 1}},
}

// onLoopback runs a scenario of the catalogue on loopback, and judges it.
func onLoopback(t *testing.T, name string, how change) *metrics.Result {
	t.Helper()
	s, ok := Find(name)
	if !ok || !s.OnLoopback() {
		t.Fatalf("%s cannot be shown on loopback", name)
	}
	return how.run(t, s)
}

// phenomenaOnLoopback is a part of TestPhenomena, and waits beside the other ones: each claim
// that needs no lab is seen on loopback; and where its mechanism is taken away, it is not.
func phenomenaOnLoopback(t *testing.T) {
	t.Parallel()
	var able []string
	for _, s := range Builtins() {
		if s.Phenomenon != nil && s.Phenomenon.Loopback != nil {
			able = append(able, s.Name)
		}
	}
	if want := slices.Sorted(maps.Keys(ofLoopback)); !slices.Equal(slices.Sorted(slices.Values(able)), want) {
		t.Errorf("able are %v, tested are %v", able, want)
	}
	for name, without := range ofLoopback {
		t.Run(name, func(t *testing.T) {
			needsMinutes(t, name)
			t.Parallel()
			if name == "self-connect" { // ports from which the one that is called is never chosen
				without.client = lowestPorts(t)
			}
			s, _ := Find(name)
			s.OnLoopback()
			inThreeWays(t, s, without, func(how change) *metrics.Result { return onLoopback(t, name, how) })
		})
	}
}

// lowestPorts are the first of this host's range, of which experiments take the upper half.
func lowestPorts(t *testing.T) bench.Options {
	t.Helper()
	var low int
	if _, err := fmt.Sscan(sysinfo.Sysctls()["net.ipv4.ip_local_port_range"], &low); err != nil {
		t.Fatal(err)
	}
	n, err := bench.ParseOption("IP_LOCAL_PORT_RANGE", fmt.Sprintf("%d-%d", low, low+9))
	if err != nil {
		t.Fatal(err)
	}
	return bench.Options{"IP_LOCAL_PORT_RANGE": n}
}
