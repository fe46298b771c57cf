package file

import (
	"strings"
	"testing"

	"tcpbench/internal/machine"
	"tcpbench/metrics"
)

func TestPhenomenaInFiles(t *testing.T) {
	const whole = "name: x\nclaim: c\nproduction: p\ntakes: 1s\nverdict: [failed > 0]\nsteps: [s]\n"
	s, err := Read("x.yaml", strings.NewReader(whole+"lab:\n  settings: {net.ipv4.tcp_tw_reuse: 0}\n  server: {net.core.somaxconn: 7}\n  to-client: delay=5ms\n"))
	if err != nil {
		t.Fatal(err)
	}
	p := s.Phenomenon
	if len(p.Client) != 1 || len(p.Server) != 2 || p.Link.ToClient.Delay == 0 || p.Needs() != "lab" {
		t.Errorf("%+v", p)
	}
	// A phase may have settings on top, and a verdict tells phases apart.
	s, err = Read("x.yaml", strings.NewReader(strings.Replace(whole, "failed > 0", "a.rate > b.rate", 1)+
		"lab: {settings: {net.ipv4.tcp_tw_reuse: 0}}\nphases: [{name: a, lab: {client: {net.ipv4.tcp_tw_reuse: 1}}, ports: 9000}, {name: b}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	plans, err := s.Plans(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !s.OwnLabs() || len(plans[0].Phenomenon.Client) != 2 || len(plans[1].Phenomenon.Client) != 1 {
		t.Errorf("%+v", plans)
	}
	attempted := metrics.Tally{Attempted: 1}
	v := s.Phenomenon.Judge(&metrics.Result{Tally: attempted, Phases: []metrics.Phase{{Name: "a", Result: metrics.Result{Rate: 3, ElapsedS: 1}}, {Name: "b", Result: metrics.Result{Rate: 2, ElapsedS: 1}}}})
	if !v.Reproduced || v.Evidence[0].Values[0].Name != "a.rate" {
		t.Errorf("%+v", v)
	}
	if v := s.Phenomenon.Judge(&metrics.Result{Tally: attempted, Rate: 5}); v.Outcome != metrics.Undecided || v.Evidence[0].Reason != "no sample: a.rate, b.rate" {
		t.Errorf("%+v", v)
	}
	// A condition may name phases, too, and says what is wrong otherwise.
	s, err = Read("x.yaml", strings.NewReader(whole+"conditions:\n  too slow to tell: a.attempted > 10\nphases: [{name: a}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	few := &metrics.Result{Tally: attempted, Phases: []metrics.Phase{{Name: "a", Result: metrics.Result{Tally: attempted}}}}
	if v := s.Phenomenon.Judge(few); v.Outcome != metrics.Undecided || !strings.HasPrefix(v.Why, "too slow to tell: a.attempted > 10 does not hold") {
		t.Errorf("%+v", v)
	}
	// A benchmark of this host claims nothing.
	s, err = Read("x.yaml", strings.NewReader("name: x\nproduction: p\ntakes: 1s\nsteps: [s]\nhost: true\n"))
	if err != nil {
		t.Fatal(err)
	}
	if !s.Phenomenon.Benchmark() || p.Benchmark() {
		t.Errorf("%+v", s.Phenomenon)
	}
	// A profile comes on top, so that a remedy can be shown to help.
	client, _ := p.Profiles(&machine.Profile{Name: "mine", Settings: []machine.Setting{{Key: "net.ipv4.tcp_tw_reuse", Value: "1"}}}, &machine.Profile{Name: "mine"})
	if len(client.Settings) != 1 || client.Settings[0].Value != "1" || client.Name != "the scenario's own, mine" {
		t.Errorf("%+v", client)
	}
	for text, want := range map[string]string{
		strings.Replace(whole, "claim: c\n", "", 1):              "add claim",
		strings.Replace(whole, "production: p\n", "", 1):         "add production",
		strings.Replace(whole, "takes: 1s", "takes: soon", 1):    `x.yaml:4:8: "soon"`,
		strings.Replace(whole, "verdict: [failed > 0]\n", "", 1): "claim without a verdict",
		strings.Replace(whole, "failed > 0", "faild > 0", 1):     "did you mean failed?",
		whole + "conditions: {slow: attemptd > 1}\n":             "did you mean attempted?",
		whole + "conditions: [attempted > 1]\n":                  "by what is wrong",
		"name: x\nproduction: p\ntakes: 1s\nsteps: [s]\n":        "add claim",
		whole + "lab: 3\n":                                                                            "x.yaml:7:6",
		whole + "lab:\n  profil: {}\n":                                                                "profil",
		whole + "lab:\n  settings: {net.ipv4.*: 1}\n":                                                 "without patterns",
		whole + "lab:\n  to-server: los=1%\n":                                                         "did you mean loss?",
		whole + "lab:\n  settings: {net.ipv4.tcp_tw_reuse: [1]}\n":                                    "want a single value",
		strings.Replace(whole, "steps: [s]\n", "", 1):                                                 "add what is done",
		strings.Replace(whole, "takes: 1s\n", "", 1):                                                  "add takes",
		whole + "lab:\n  timeline: [{to-server: loss=1%}]\n":                                          "add at",
		whole + "lab:\n  timeline: [{at: 1s, to-server: delay=1ms}]":                                  "only loss, every and drop can change",
		whole + "lab:\n  timeline: [{at: 2s, to-client: loss=1%}, {at: 1s, to-client: loss=0%}]":      "put the earlier one first",
		whole + "lab:\n  timeline: [{at: 1s, to: loss=1%}]":                                           `unknown key "to"`,
		whole + "host: yes\n":                                                                         "want true",
		whole + "host: true\nlab: {}\n":                                                               "leave one of them out",
		whole + "host: true\nexperiment: mss\n":                                                       "leave host out",
		whole + "experiment: mss\nrun: {rate: 1k}\n":                                                  "leave run and phases out",
		whole + "experiment: mss\nexpect: [failed == 0]\n":                                            "write it there",
		whole + "experiment: msss\n":                                                                  "did you mean mss?",
		whole + "realistic: {takes: 1s}\n":                                                            "add scaled",
		whole + "scaled: [few]\nrealistic: {lap: {}}\n":                                               "did you mean lab?",
		whole + "scaled: [few]\nrealistic: {lab: {}}\n":                                               "add takes",
		whole + "scaled: [few]\nrealistic: {takes: 1s, interval: 5s}\n":                               "leave it out",
		whole + "experiment: heartbeat-designs\nscaled: [few]\nrealistic: {takes: 1s, interval: 5}\n": "as in 5s",
		whole + "phases: [{name: a}]\nscaled: [few]\nrealistic: {takes: 1s, phases: {b: {}}}\n":       `no phase is called "b": it has a`,
		whole + "phases: [{name: a, lab: 3}]\n":                                                       "a single value",
		whole + "phases: [{name: a, ports: 9000}]\n":                                                  "without a lab of their own",
		"name: x\nphases: [{name: a, lab: {}}]\n":                                                     "a scenario that claims something",
		strings.Replace(whole, "failed > 0", "seen.nothing > 0", 1):                                   "no experiment finds out",
		strings.Replace(whole, "failed > 0", "seen.segment > 0", 1):                                   "did you mean seen.segments?",
		strings.Replace(whole, "failed > 0", "a.failed > 0", 1):                                       "unknown name",
	} {
		if _, err := Read("x.yaml", strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestLoopbackInFiles(t *testing.T) {
	const (
		load = "name: x\nclaim: c\nproduction: p\ntakes: 2s\nverdict: [failed > 0]\nsteps: [s]\nrun: {count: 5, connections: 2}\n"
		deed = "name: x\nclaim: c\nproduction: p\ntakes: 2s\nverdict: [seen.received > 0]\nsteps: [s]\nexperiment: mss\n"
	)
	s, err := Read("x.yaml", strings.NewReader(load+"lab: {settings: {net.ipv4.tcp_tw_reuse: 0}}\nscaled: [few]\nrealistic: {takes: 3s, run: {count: 9}}\n"+
		"loopback: {evidence: ' e\n  f', takes: 1s, run: {count: 7}, verdict: [failed == 0], phases: [{name: a, freeze: {side: server, at: 1s, for: 2s}}]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if s.Phenomenon.OnLoopback() || len(s.Phenomenon.Client) != 1 || s.Runs() != 1 || !s.OnLoopback() {
		t.Fatalf("%+v", s.Phenomenon)
	}
	p := s.Phenomenon
	if !p.OnLoopback() || len(p.Scaled) > 0 || len(p.Client) != 0 || p.Takes.Seconds() != 1 || p.Verdict()[0] != "failed == 0" || p.Steps[0] != "s" || p.Loopback.Evidence != "e f" {
		t.Errorf("%+v", p)
	}
	plans, err := s.Plans(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if f := plans[0].Plan.Freeze; f == nil || f.String() != "the server is stopped after 1s, for 2s" || plans[0].Plan.Client.Count != 7 || plans[0].Plan.Client.Connections != 2 {
		t.Errorf("%+v %+v", plans[0].Plan, f)
	}
	s, err = Read("x.yaml", strings.NewReader(deed+"loopback: {evidence: e, client: {SO_SNDBUF: 1}, server: {IP_LOCAL_PORT_RANGE: 40000-50000}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if r := s.Phenomenon.Loopback.Report("w"); r.Why != "w" || r.Client["SO_SNDBUF"] != "1" || r.Server["IP_LOCAL_PORT_RANGE"] != "40000-50000" {
		t.Errorf("%+v", r)
	}
	if s := catalogued(t, "handshake"); s.OnLoopback() {
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
		if _, err := Read("x.yaml", strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
