package scenarios

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"tcpbench/internal/alone"
	"tcpbench/internal/lab"
	"tcpbench/metrics"
)

// shown runs a scenario of the catalogue in its lab, or here if it is of the host, as the flags
// and settings change it.
func shown(t *testing.T, name, args string, link lab.Link, settings ...string) *metrics.Result {
	t.Helper()
	s, ok := Find(name)
	if !ok || s.Phenomenon == nil || s.Phenomenon.Benchmark() {
		t.Fatalf("%s claims nothing", name)
	}
	var over []Override
	if !s.Experiment() {
		over = overrides(t, s, args)
	}
	stages, err := s.Stages(t.Context(), over)
	if err != nil {
		t.Fatal(err)
	}
	open := func(p *Phenomenon) (*Venue, error) {
		v, err := p.Venue(link, profile(t, "test", settings...), profile(t, "test", settings...))
		if err != nil {
			return nil, err
		}
		return v, v.Strict()
	}
	var r *metrics.Result
	switch p := s.Phenomenon; {
	case p.Host:
		r, err = RunStages(t.Context(), stages, nil, Observer{})
	case s.OwnLabs():
		for i := range stages {
			stages[i].Open = func() (*Venue, error) { return open(stages[i].Phenomenon) }
		}
		r, err = RunStages(t.Context(), stages, nil, Observer{})
	default:
		v, failed := open(p)
		if failed != nil {
			alone.Needed(t, failed.Error())
		}
		defer v.Close()
		for i := range stages {
			stages[i].Plan.Lab = v
		}
		if s.Experiment() {
			r, err = s.Perform(t.Context(), v, name == "four-way-close", nil)
		} else {
			r, err = RunStages(t.Context(), stages, nil, Observer{})
		}
	}
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

// change is what a test does to a scenario.
type change struct {
	args     string
	link     lab.Link
	settings []string
}

// broken takes the mechanism of each scenario away.
func broken(t *testing.T) map[string]change {
	almostPerfect := "every=4294967295"
	set := func(settings ...string) change { return change{settings: settings} }
	return map[string]change{
		"syn-burst":               {args: "--burst 1 --every 0s --duration 100ms"},
		"handshake":               set("net.ipv4.tcp_syncookies=2"), // nothing is remembered of a SYN
		"simultaneous-open":       {link: impaired(t, "drop=syn", "")},
		"self-connect":            set("net.ipv4.ip_local_port_range=10000 10009"),
		"mss":                     set("net.ipv4.tcp_min_snd_mss=1400"), // what the peer announces counts for nothing
		"syn-loss":                {link: impaired(t, almostPerfect, "")},
		"backlog":                 set("net.core.somaxconn=4096"),
		"accept-overflow":         set("net.core.somaxconn=4096"),
		"retransmit":              {link: impaired(t, "", almostPerfect)},
		"zero-window":             set("net.ipv4.tcp_rmem=4096 4194304 6291456"),
		"keepalive":               {link: impaired(t, "", "drop=rst")},
		"heartbeat-designs":       {args: "--missed 100"},
		"four-way-close":          {link: impaired(t, "drop=fin+ack", "")},
		"three-way-close":         {link: impaired(t, "", "drop=fin+ack")},
		"half-close":              {link: impaired(t, "drop=fin+ack", "")},
		"simultaneous-close":      {link: impaired(t, "", "drop=fin+ack")},
		"rst-close":               set("net.ipv4.tcp_rmem=4096 1310720 6291456"),
		"close-wait-leak":         {args: "--close client"},
		"fin-wait-2":              set("net.ipv4.tcp_fin_timeout=60"),
		"time-wait-length":        set("net.ipv4.tcp_max_tw_buckets=0"),
		"lost-last-ack":           set("net.ipv4.tcp_max_tw_buckets=0"),
		"time-wait-assassination": set("net.ipv4.tcp_rfc1337=1"),
		"time-wait-exhaustion":    set("net.ipv4.tcp_tw_reuse=1", "net.ipv4.tcp_tw_reuse_delay=1"),
		"time-wait-remedies":      {args: "--rate 100 --duration 200ms"}, // there are ports for all
		"port-search-cliff":       {args: "--sources 198.18.1.1-198.18.1.254 --duration 1s"},
		"ephemeral-port-theft":    {link: impaired(t, "", "drop=syn+ack")},
	}
}

// scaled makes loads of this host smaller than a user would.
var scaled = map[string]string{
	SYNBurst: "--every 0s --duration 100ms",
}

// busy are those that use all that a machine has.
var busy = []string{SYNBurst, "retransmit", "port-search-cliff"}

// timed are those whose claims are about rates and times. A machine that stands still misses
// arrivals and beats, so each may be tried again; what was seen instead is in the log.
var timed = []string{"heartbeat-designs", "keepalive", "port-search-cliff", "syn-loss", "time-wait-exhaustion", "time-wait-remedies"}

// attempts is how often one of them is tried.
const attempts = 3

// reproduced runs a scenario until its claim is seen, as often as it may be tried.
func reproduced(t *testing.T, name string) {
	t.Helper()
	most := 1
	if slices.Contains(timed, name) {
		most = attempts
	}
	for i := 1; ; i++ {
		r := shown(t, name, scaled[name], lab.Link{})
		switch {
		case r.Verdict.Reproduced:
			return
		case i == most:
			t.Errorf("not reproduced:\n%s", evidence(r.Verdict))
			return
		}
		t.Logf("not reproduced in attempt %d of %d:\n%s", i, most, evidence(r.Verdict))
	}
}

// Each claim of the catalogue is seen on this kernel; and where its mechanism is taken
// away, it is not. These wait for most of their time.
func TestPhenomena(t *testing.T) {
	t.Parallel()
	t.Run("loopback", phenomenaOnLoopback)
	phenomena(t, func(name string) bool { return !slices.Contains(busy, name) })
}

// The same for those that need the processors.
func TestPhenomenaBusy(t *testing.T) {
	phenomena(t, func(name string) bool { return slices.Contains(busy, name) })
}

func phenomena(t *testing.T, which func(name string) bool) {
	wrong := broken(t)
	for _, s := range Builtins() {
		if s.Phenomenon.Benchmark() || !which(s.Name) {
			continue
		}
		t.Run(s.Name, func(t *testing.T) {
			if !slices.Contains(busy, s.Name) {
				t.Parallel()
			}
			reproduced(t, s.Name)
			how, ok := wrong[s.Name]
			if !ok {
				t.Fatal("nothing takes its mechanism away: can its verdict fail?")
			}
			if r := shown(t, s.Name, how.args, how.link, how.settings...); r.Verdict.Reproduced {
				t.Errorf("reproduced without its mechanism:\n%s", evidence(r.Verdict))
			}
		})
	}
}

// What sock_diag showed of a connection is what the kernel's tracepoints told of it.
func TestTracepointsAgree(t *testing.T) {
	r := shown(t, "four-way-close", "", lab.Link{})
	traced := r.Kernel[0].Trace
	if traced == nil {
		alone.Needed(t, fmt.Sprintf("tracepoints: %+v", r.Flags))
	}
	for _, change := range []string{"client ESTABLISHED FIN_WAIT1", "client FIN_WAIT1 FIN_WAIT2", "server ESTABLISHED CLOSE_WAIT", "server CLOSE_WAIT LAST_ACK", "server LAST_ACK CLOSE"} {
		if n := traced.Transitions[change]; n != 1 {
			t.Errorf("%s: %d times, of %v", change, n, traced.Transitions)
		}
	}
}

func TestPhenomenaInFiles(t *testing.T) {
	const whole = "name: x\nclaim: c\nproduction: p\ntakes: 1s\nverdict: [failed > 0]\nsteps: [s]\n"
	s, err := ReadScenario("x.yaml", strings.NewReader(whole+"lab:\n  settings: {net.ipv4.tcp_tw_reuse: 0}\n  server: {net.core.somaxconn: 7}\n  to-client: delay=5ms\n"))
	if err != nil {
		t.Fatal(err)
	}
	p := s.Phenomenon
	if len(p.Client) != 1 || len(p.Server) != 2 || p.Link.ToClient.Delay == 0 || p.Needs() != "lab" {
		t.Errorf("%+v", p)
	}
	// A phase may have settings on top, and a verdict tells phases apart.
	s, err = ReadScenario("x.yaml", strings.NewReader(strings.Replace(whole, "failed > 0", "a.rate > b.rate", 1)+
		"lab: {settings: {net.ipv4.tcp_tw_reuse: 0}}\nphases: [{name: a, lab: {client: {net.ipv4.tcp_tw_reuse: 1}}, ports: 9000}, {name: b}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	stages, err := s.Stages(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !s.OwnLabs() || len(stages[0].Phenomenon.Client) != 2 || len(stages[1].Phenomenon.Client) != 1 {
		t.Errorf("%+v", stages)
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
	s, err = ReadScenario("x.yaml", strings.NewReader(whole+"conditions:\n  too slow to tell: a.attempted > 10\nphases: [{name: a}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	few := &metrics.Result{Tally: attempted, Phases: []metrics.Phase{{Name: "a", Result: metrics.Result{Tally: attempted}}}}
	if v := s.Phenomenon.Judge(few); v.Outcome != metrics.Undecided || !strings.HasPrefix(v.Why, "too slow to tell: a.attempted > 10 does not hold") {
		t.Errorf("%+v", v)
	}
	// A benchmark of this host claims nothing.
	s, err = ReadScenario("x.yaml", strings.NewReader("name: x\nproduction: p\ntakes: 1s\nsteps: [s]\nhost: true\n"))
	if err != nil {
		t.Fatal(err)
	}
	if !s.Phenomenon.Benchmark() || p.Benchmark() {
		t.Errorf("%+v", s.Phenomenon)
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
		whole + "conditions: {slow: attemptd > 1}\n":             "did you mean attempted?",
		whole + "conditions: [attempted > 1]\n":                  "by what is wrong",
		"name: x\nproduction: p\ntakes: 1s\nsteps: [s]\n":        "add claim",
		whole + "lab: 3\n":                                                                       "x.yaml:7:6",
		whole + "lab:\n  profil: {}\n":                                                           "profil",
		whole + "lab:\n  settings: {net.ipv4.*: 1}\n":                                            "without patterns",
		whole + "lab:\n  to-server: los=1%\n":                                                    "did you mean loss?",
		whole + "lab:\n  settings: {net.ipv4.tcp_tw_reuse: [1]}\n":                               "want a single value",
		strings.Replace(whole, "steps: [s]\n", "", 1):                                            "add what is done",
		strings.Replace(whole, "takes: 1s\n", "", 1):                                             "add takes",
		whole + "lab:\n  timeline: [{to-server: loss=1%}]\n":                                     "add at",
		whole + "lab:\n  timeline: [{at: 1s, to-server: delay=1ms}]":                             "only loss, every and drop can change",
		whole + "lab:\n  timeline: [{at: 2s, to-client: loss=1%}, {at: 1s, to-client: loss=0%}]": "put the earlier one first",
		whole + "lab:\n  timeline: [{at: 1s, to: loss=1%}]":                                      `unknown key "to"`,
		whole + "host: yes\n":                                                                    "want true",
		whole + "host: true\nlab: {}\n":                                                          "leave one of them out",
		whole + "host: true\nexperiment: mss\n":                                                  "leave host out",
		whole + "experiment: mss\nrun: {rate: 1k}\n":                                             "leave run and phases out",
		whole + "experiment: mss\nexpect: [failed == 0]\n":                                       "write it there",
		whole + "experiment: msss\n":                                                             "did you mean mss?",
		whole + "realistic: {lap: {}}\n":                                                         "did you mean lab?",
		whole + "realistic: {lab: {}}\n":                                                         "add takes",
		whole + "phases: [{name: a, lab: 3}]\n":                                                  "a single value",
		whole + "phases: [{name: a, ports: 9000}]\n":                                             "without a lab of their own",
		"name: x\nphases: [{name: a, lab: {}}]\n":                                                "a scenario that claims something",
		strings.Replace(whole, "failed > 0", "seen.nothing > 0", 1):                              "no experiment finds out",
		strings.Replace(whole, "failed > 0", "seen.segment > 0", 1):                              "did you mean seen.segments?",
		strings.Replace(whole, "failed > 0", "a.failed > 0", 1):                                  "unknown name",
	} {
		if _, err := ReadScenario("x.yaml", strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}
