package scenarios

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"tcpbench/internal/kernel"
	"testing"

	"tcpbench/metrics"
	"tcpbench/scenarios/experiment"
)

// ofLoopback are those that can be shown without a lab, and what takes the mechanism of each
// away. The options of the file stay where none is named.
var ofLoopback = map[string]change{
	"mss":                  {fails: "seen.server_mss == 700", server: experiment.Options{"TCP_MAXSEG": 1400}},
	"self-connect":         {fails: "seen.connected_to_itself == 1"},                                  // as below
	"backlog":              {fails: "seen.queued_4 ==", server: experiment.Options{"IP_MINTTL": 255}}, // SYNs of a smaller TTL are dropped, and nothing is queued
	"zero-window":          {fails: "seen.probe_timer == 1", server: experiment.Options{"SO_RCVBUF": 200_000}},
	"heartbeat-designs":    {fails: "seen.answered_stopped_client >=", server: experiment.Options{"SO_RCVLOWAT": 1000}}, // the server hears no beat
	"rst-close":            {fails: "seen.lost > 0", server: experiment.Options{"SO_RCVBUF": 200_000}},
	"close-wait-leak":      {fails: "server.CLOSE_WAIT.last == 200", args: "--close client"},
	"fin-wait-2":           {fails: "client.FIN_WAIT2.last < 0.9 * succeeded", args: "--fin-timeout 60s"},
	"time-wait-length":     {fails: "seen.life_default >= 59s", client: experiment.Options{"TCP_LINGER2": -1}}, // there is no FIN_WAIT_2, and so no TIME_WAIT
	"ephemeral-port-theft": {fails: "seen.bound > 0", client: experiment.Options{"IP_BIND_ADDRESS_NO_PORT": 1}},
}

// onLoopback runs a scenario of the catalogue on loopback, and judges it.
func onLoopback(t *testing.T, name string, how change) *metrics.Result {
	t.Helper()
	s, ok := Find(name)
	if !ok || !s.OnLoopback() {
		t.Fatalf("%s cannot be shown on loopback", name)
	}
	l := s.Phenomenon.Loopback
	if how.client != nil {
		l.Client = how.client
	}
	if how.server != nil {
		l.Server = how.server
	}
	var over []Override
	if !s.Experiment() {
		over = overrides(t, s, how.args)
	}
	stages, err := s.Stages(t.Context(), over)
	if err != nil {
		t.Fatal(err)
	}
	var r *metrics.Result
	if s.Experiment() {
		r, err = s.Perform(t.Context(), nil, false, nil)
	} else {
		r, err = RunStages(t.Context(), stages, nil, Observer{})
	}
	if err != nil {
		t.Fatal(err)
	}
	if r.Flagged("invalid") || r.Lab != nil {
		t.Errorf("%s: %+v, lab %v", name, r.Flags, r.Lab)
	}
	r.Verdict = s.Phenomenon.Judge(r)
	return r
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
func lowestPorts(t *testing.T) experiment.Options {
	t.Helper()
	var low int
	if _, err := fmt.Sscan(kernel.Sysctls()["net.ipv4.ip_local_port_range"], &low); err != nil {
		t.Fatal(err)
	}
	n, err := experiment.ParseOption("IP_LOCAL_PORT_RANGE", fmt.Sprintf("%d-%d", low, low+9))
	if err != nil {
		t.Fatal(err)
	}
	return experiment.Options{"IP_LOCAL_PORT_RANGE": n}
}

func TestLoopbackInFiles(t *testing.T) {
	const (
		load = "name: x\nclaim: c\nproduction: p\ntakes: 2s\nverdict: [failed > 0]\nsteps: [s]\nrun: {count: 5, connections: 2}\n"
		deed = "name: x\nclaim: c\nproduction: p\ntakes: 2s\nverdict: [seen.received > 0]\nsteps: [s]\nexperiment: mss\n"
	)
	s, err := ReadScenario("x.yaml", strings.NewReader(load+"lab: {settings: {net.ipv4.tcp_tw_reuse: 0}}\nscaled: [few]\nrealistic: {takes: 3s, run: {count: 9}}\n"+
		"loopback: {evidence: ' e\n  f', takes: 1s, run: {count: 7}, verdict: [failed == 0], phases: [{name: a, freeze: {side: server, at: 1s, for: 2s}}]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if s.Phenomenon.OnLoopback() || len(s.Phenomenon.Client) != 1 || s.Phases() != 1 || !s.OnLoopback() {
		t.Fatalf("%+v", s.Phenomenon)
	}
	p := s.Phenomenon
	if !p.OnLoopback() || len(p.Scaled) > 0 || len(p.Client) != 0 || p.Takes.Seconds() != 1 || p.Verdict()[0] != "failed == 0" || p.Steps[0] != "s" || p.Loopback.Evidence != "e f" {
		t.Errorf("%+v", p)
	}
	stages, err := s.Stages(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if f := stages[0].Plan.Freeze; f == nil || f.String() != "the server is stopped after 1s, for 2s" || stages[0].Plan.Client.Count != 7 || stages[0].Plan.Client.Connections != 2 {
		t.Errorf("%+v %+v", stages[0].Plan, f)
	}
	s, err = ReadScenario("x.yaml", strings.NewReader(deed+"loopback: {evidence: e, client: {SO_SNDBUF: 1}, server: {IP_LOCAL_PORT_RANGE: 40000-50000}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if r := s.Phenomenon.Loopback.Report("w"); r.Why != "w" || r.Client["SO_SNDBUF"] != "1" || r.Server["IP_LOCAL_PORT_RANGE"] != "40000-50000" {
		t.Errorf("%+v", r)
	}
	if s, _ := Find("handshake"); s.OnLoopback() {
		t.Error("a handshake is shown without gates")
	}
	for text, want := range map[string]string{
		load + "loopback: {}\n": "add evidence",
		load + "loopback: 3\n":  "a single value",
		load + "loopback: {evidence: e, client: {SO_SNDBUF: 1}}\n":                                        `unknown key "client"`,
		load + "host: true\nloopback: {evidence: e}\n":                                                    "leave loopback or host out",
		load + "loopback: {evidence: e, run: {count: -1}}\n":                                              "count",
		load + "loopback: {evidence: e, phases: [{name: a, lab: {}}]}\n":                                  "leave lab out",
		load + "loopback: {evidence: e, phases: [{name: a, freeze: {side: link, at: 1s, for: 1s}}]}\n":    "want side: client or side: server",
		load + "loopback: {evidence: e, phases: [{name: a, freeze: {side: client, at: 1s}}]}\n":           "want for with a time",
		load + "loopback: {evidence: e, phases: [{name: a, freeze: {side: client, at: 1s, till: 2s}}]}\n": `unknown key "till"`,
		load + "phases: [{name: a, freeze: {side: client, at: 1s, for: 1s}}]\n":                           "only a phase of loopback or of this host",
		deed + "loopback: {evidence: e, run: {count: 7}}\n":                                               `unknown key "run"`,
		deed + "loopback: {evidence: e, client: {SO_SNDBUFF: 1}}\n":                                       "did you mean SO_SNDBUF?",
		deed + "loopback: {evidence: e, client: {SO_SNDBUF: big}}\n":                                      "want a whole number",
		deed + "loopback: {evidence: e, client: {IP_LOCAL_PORT_RANGE: 9}}\n":                              "want LOW-HIGH",
		strings.Replace(deed, "mss", "handshake", 1) + "loopback: {evidence: e}\n":                        "needs a lab",
		"name: x\nloopback: {evidence: e}\n":                                                              "add",
	} {
		if _, err := ReadScenario("x.yaml", strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
