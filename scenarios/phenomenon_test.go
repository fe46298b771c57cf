package scenarios

import (
	"fmt"
	"strings"
	"testing"

	"tcpbench/internal/alone"
	"tcpbench/internal/lab"
	"tcpbench/metrics"
)

// shown runs a scenario of the catalogue in its lab, as the flags and settings change it.
func shown(t *testing.T, name, args string, link lab.Link, settings ...string) *metrics.Result {
	t.Helper()
	s, ok := Find(name)
	if !ok || s.Phenomenon == nil {
		t.Fatalf("%s claims nothing", name)
	}
	stages, err := s.Stages(t.Context(), overrides(t, s, args))
	if err != nil {
		t.Fatal(err)
	}
	client, server := s.Phenomenon.Profiles(profile(t, "test", settings...), profile(t, "test", settings...))
	v, err := NewVenue(s.Phenomenon.LinkUnder(link), client, server)
	if err != nil {
		alone.Needed(t, err.Error())
	}
	defer v.Close()
	if err := v.Strict(client, server); err != nil {
		t.Fatal(err)
	}
	for i := range stages {
		stages[i].Plan.Lab = v
	}
	r, err := RunStages(t.Context(), stages, nil, Observer{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Flagged("invalid") {
		t.Errorf("%s: %+v", name, r.Flags)
	}
	r.Verdict = s.Phenomenon.Judge(r)
	return r
}

func evidence(v *metrics.Verdict) string {
	var b strings.Builder
	for _, e := range v.Evidence {
		fmt.Fprintf(&b, "%v %s %+v %s\n", e.Pass, e.Expression, e.Values, e.Reason)
	}
	return b.String()
}

func impaired(t *testing.T, toServer, toClient string) (l lab.Link) {
	t.Helper()
	for text, to := range map[string]*lab.Impairment{toServer: &l.ToServer, toClient: &l.ToClient} {
		if text == "" {
			continue
		}
		var err error
		if *to, err = lab.ParseImpairment(text); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// Each claim of the catalogue is seen on this kernel; and where its mechanism is taken
// away, it is not.
func TestPhenomena(t *testing.T) {
	almostPerfect := "every=4294967295"
	broken := map[string]struct {
		args     string
		link     lab.Link
		settings []string
	}{
		"syn-loss":             {link: impaired(t, almostPerfect, "")},
		"accept-overflow":      {args: "--backlog 2000"},
		"retransmit":           {link: impaired(t, "", almostPerfect)},
		"rst-close":            {args: "--close-how fin"},
		"close-wait-leak":      {args: "--close client"},
		"fin-wait-2":           {settings: []string{"net.ipv4.tcp_fin_timeout=60"}},
		"time-wait-exhaustion": {settings: []string{"net.ipv4.tcp_tw_reuse=1", "net.ipv4.tcp_tw_reuse_delay=1"}},
		"port-search-cliff":    {args: "--sources 198.18.1.1-198.18.1.254 --duration 1s"},
	}
	for _, s := range Builtins() {
		if s.Phenomenon == nil {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			if r := shown(t, s.Name, "", lab.Link{}); !r.Verdict.Reproduced {
				t.Errorf("not reproduced:\n%s", evidence(r.Verdict))
			}
			how, ok := broken[s.Name]
			if !ok {
				t.Fatal("nothing takes its mechanism away: can its verdict fail?")
			}
			if r := shown(t, s.Name, how.args, how.link, how.settings...); r.Verdict.Reproduced {
				t.Errorf("reproduced without its mechanism:\n%s", evidence(r.Verdict))
			}
		})
	}
}

func TestPhenomenaInFiles(t *testing.T) {
	const whole = "name: x\nclaim: c\nproduction: p\ntakes: 1s\nverdict: [failed > 0]\n"
	s, err := ReadScenario("x.yaml", strings.NewReader(whole+"lab:\n  settings: {net.ipv4.tcp_tw_reuse: 0}\n  server: {net.core.somaxconn: 7}\n  to-client: delay=5ms\n"))
	if err != nil {
		t.Fatal(err)
	}
	p := s.Phenomenon
	if len(p.Client) != 1 || len(p.Server) != 2 || p.Link.ToClient.Delay == 0 || p.Needs() != "lab" {
		t.Errorf("%+v", p)
	}
	// A profile comes on top, so that a remedy can be shown to help.
	client, _ := p.Profiles(profile(t, "mine", "net.ipv4.tcp_tw_reuse=1"), profile(t, "mine"))
	if len(client.Settings) != 1 || client.Settings[0].Value != "1" || client.Name != "the scenario's own, mine" {
		t.Errorf("%+v", client)
	}
	for text, want := range map[string]string{
		strings.Replace(whole, "claim: c\n", "", 1):              "add claim",
		strings.Replace(whole, "production: p\n", "", 1):         "add production",
		strings.Replace(whole, "takes: 1s", "takes: soon", 1):    `x.yaml:4:8: "soon"`,
		strings.Replace(whole, "verdict: [failed > 0]\n", "", 1): "claim without a verdict",
		strings.Replace(whole, "failed > 0", "faild > 0", 1):     "did you mean failed?",
		whole + "lab: 3\n":                                         "x.yaml:6:6",
		whole + "lab:\n  profil: {}\n":                             "profil",
		whole + "lab:\n  settings: {net.ipv4.*: 1}\n":              "without patterns",
		whole + "lab:\n  to-server: los=1%\n":                      "did you mean loss?",
		whole + "lab:\n  settings: {net.ipv4.tcp_tw_reuse: [1]}\n": "want a single value",
	} {
		if _, err := ReadScenario("x.yaml", strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
