package scenarios

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"tcpbench/internal/alone"
	"tcpbench/internal/lab"
	"tcpbench/internal/probe"
	"tcpbench/metrics"
	"tcpbench/scenarios/experiment/bench"
	"tcpbench/scenarios/stage"
	"tcpbench/scenarios/workload"
)

// shown runs a scenario of the catalogue as the change wants it.
func shown(t *testing.T, name string, how change) *metrics.Result {
	t.Helper()
	s, ok := Find(name)
	if !ok || s.Phenomenon == nil || s.Phenomenon.Benchmark() {
		t.Fatalf("%s claims nothing", name)
	}
	return how.run(t, s)
}

// run runs the scenario as it is changed, and judges it.
func (c change) run(t *testing.T, s *Scenario) *metrics.Result {
	t.Helper()
	s = c.on(s)
	o := Options{Trace: s.Name == "four-way-close" && !s.Phenomenon.OnLoopback()}
	if !s.Experiment() {
		o.Overrides = overrides(t, s, c.args)
	}
	var w Where
	if s.Requires().Lab {
		w.Lab = &Lab{Link: c.link, Client: profile(t, "test", c.settings...), Server: profile(t, "test", c.settings...), Strict: true}
	}
	r, err := Run(t.Context(), s, w, o, Observer{Lab: func(v *stage.Venue) error {
		if c.atServer == nil {
			return nil
		}
		return v.Server.Do(c.atServer)
	}})
	if _, refused := probe.Explain(err); refused {
		alone.Needed(t, err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	if r.Flagged("invalid") || w.Lab == nil && r.Lab != nil {
		t.Errorf("%s: %+v, lab %v", s.Name, r.Flags, r.Lab)
	}
	if c.only != nil { // what is said of the phases that were not run has no sample, and does not count
		if r, err = metrics.Combine([]metrics.Phase{{Name: c.only[0], Result: *r}}); err != nil {
			t.Fatal(err)
		}
	}
	r.Verdict = s.Phenomenon.Judge(r) // of the host with flags, too
	if c.only != nil {
		r.Verdict.Conditions = slices.DeleteFunc(r.Verdict.Conditions, func(c metrics.Condition) bool { return c.Reason != "" })
		r.Verdict.Decide(r)
	}
	return r
}

// unseen checks that the verdict on a result that reproduces a claim is undecided if any one of its
// samples is missing. It returns how often it was.
func unseen(t *testing.T, s *Scenario, r *metrics.Result) string {
	t.Helper()
	undecided, all := 0, 0
	for i, e := range r.Verdict.Evidence {
		for _, v := range e.Values {
			without := *s.Phenomenon.Judge(r)
			without.Evidence[i] = metrics.Expectation{Expression: e.Expression, Reason: "no sample: " + v.Name}
			all++
			if without.Decide(r); without.Outcome != metrics.Undecided || !strings.Contains(without.Why, v.Name) {
				t.Errorf("without %s it is %s: %q", v.Name, without.Outcome, without.Why)
				continue
			}
			undecided++
		}
	}
	return fmt.Sprintf("%s (%d of %d)", metrics.Undecided, undecided, all)
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
	for _, way := range []struct {
		text string
		to   *lab.Impairment
	}{{toServer, &l.ToServer}, {toClient, &l.ToClient}} {
		if way.text == "" {
			continue
		}
		var err error
		if *way.to, err = lab.ParseImpairment(way.text); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// change is what a test does to a scenario: it takes a mechanism away, by a setting of the kernel, an
// option of the sockets, or another load; and fails names the evidence that must then fail.
type change struct {
	fails          string
	args           string
	link           lab.Link
	settings       []string
	client, server bench.Options
	phase          map[string]string // flags of all phases, besides their own
	only           []string          // phases that are run; nil is all
	atServer       func() error      // is called in the namespace of the lab's server
}

// on is the scenario as it is changed.
func (c change) on(s *Scenario) *Scenario {
	changed, p := *s, *s.Phenomenon
	changed.Phenomenon, changed.Phases = &p, nil
	switch {
	case p.OnLoopback():
		l := *p.Loopback
		if c.client != nil {
			l.Client = c.client
		}
		if c.server != nil {
			l.Server = c.server
		}
		p.Loopback = &l
	case p.Experiment != nil:
		e := *p.Experiment
		e.Options = [2]bench.Options{c.client, c.server}
		p.Experiment = &e
	}
	for _, ph := range s.Phases {
		if c.only != nil && !slices.Contains(c.only, ph.Name) {
			continue
		}
		for name, value := range c.phase {
			ph.Run = slices.DeleteFunc(slices.Clone(ph.Run), func(set workload.Setting) bool { return set.Name == name })
			ph.Run = append(ph.Run, workload.Setting{Name: name, Value: value})
		}
		changed.Phases = append(changed.Phases, ph)
	}
	return &changed
}

// broken takes the mechanism of each scenario away.
func broken(t *testing.T) map[string]change {
	almostPerfect := "every=4294967295"
	set := func(fails string, settings ...string) change { return change{fails: fails, settings: settings} }
	const noTimeWait = "net.ipv4.tcp_max_tw_buckets=0"
	return map[string]change{
		"syn-burst":               {fails: "twice.accept_queue.drops >= 65", only: []string{"twice"}, phase: map[string]string{"backlog": "4096"}},
		"handshake":               set("seen.server_states ==", "net.ipv4.tcp_syncookies=2"), // nothing is remembered of a SYN
		"simultaneous-open":       {fails: "seen.server_states ==", server: bench.Options{"IP_MINTTL": 255}},
		"self-connect":            set("seen.connected_to_itself == 1", "net.ipv4.ip_local_reserved_ports=9054"), // the port that is called
		"mss":                     set("seen.largest_to_server <= 700", "net.ipv4.tcp_min_snd_mss=1400"),         // what the peer announces counts for nothing
		"syn-loss":                {fails: "connect.steps >= 2", link: impaired(t, almostPerfect, "")},
		"backlog":                 {fails: "seen.queued_half ==", link: impaired(t, "drop=ack", "")},           // no handshake ends, so nothing is queued
		"accept-overflow":         {fails: "seen.queued == seen.limit + 1", link: impaired(t, "drop=ack", "")}, // the same
		"retransmit":              {fails: "lab.data_lost > 0", link: impaired(t, "", almostPerfect)},
		"zero-window":             set("seen.windows_closed > 0", "net.ipv4.tcp_rmem=4096 4194304 6291456"),
		"keepalive":               {fails: "seen.restarted_error ==", link: impaired(t, "", "drop=rst")},
		"heartbeat-designs":       {fails: "seen.heard_link_cut_client == 0", client: bench.Options{"TCP_USER_TIMEOUT": 300}}, // TCP itself says something
		"four-way-close":          set("seen.client_states ==", noTimeWait),
		"three-way-close":         {fails: "seen.segments == 3", atServer: quickACK},
		"half-close":              set("seen.client_states ==", noTimeWait),
		"simultaneous-close":      set("seen.client_states ==", noTimeWait),
		"rst-close":               set("seen.lost > 0", "net.ipv4.tcp_rmem=4096 1310720 6291456"),
		"close-wait-leak":         {fails: "server.CLOSE_WAIT.last == 200", args: "--close client"},
		"fin-wait-2":              set("client.FIN_WAIT2.last < 0.9 * succeeded", "net.ipv4.tcp_fin_timeout=60"),
		"time-wait-length":        set("seen.life_at_60 >= 59s", noTimeWait),
		"lost-last-ack":           set("seen.restarts >= 2", noTimeWait),
		"time-wait-assassination": set("seen.client_states ==", "net.ipv4.tcp_rfc1337=1"),
		"time-wait-exhaustion":    set("failed.ports_exhausted == failed", "net.ipv4.tcp_tw_reuse=1", "net.ipv4.tcp_tw_reuse_delay=1"),
		"time-wait-remedies":      {fails: "nothing.succeeded == nothing.local_ports", only: []string{"nothing"}, settings: []string{"net.ipv4.tcp_tw_reuse=1", "net.ipv4.tcp_tw_reuse_delay=1"}},
		"port-search-cliff":       {fails: "plain.connect_call_upper.p50 >=", only: []string{"plain"}, phase: map[string]string{"local-ports": "32768-60999", "rate": "9k", "connections": "1000", "count": "27000"}}, // at a rate that leaves time for a census
		"ephemeral-port-theft":    {fails: "seen.bound > 0", client: bench.Options{"IP_BIND_ADDRESS_NO_PORT": 1}},
	}
}

// quickACK has the kernel acknowledge each segment at once, whatever it belongs to (the routes'
// metric quickack).
func quickACK() error {
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	for i := range routes {
		routes[i].QuickACK = 1
		err = errors.Join(err, netlink.RouteReplace(&routes[i]))
	}
	return err
}

// refuted checks that the outcome is not reproduced, and for the right reason.
func refuted(t *testing.T, r *metrics.Result, fails string) {
	t.Helper()
	i := slices.IndexFunc(r.Verdict.Evidence, func(e metrics.Expectation) bool { return strings.HasPrefix(e.Expression, fails) })
	switch {
	case r.Verdict.Outcome != metrics.NotReproduced:
		t.Errorf("without its mechanism it is %s: %s\n%s", r.Verdict.Outcome, r.Verdict.Why, evidence(r.Verdict))
	case fails == "" || i < 0:
		t.Errorf("no evidence begins with %q", fails)
	case r.Verdict.Evidence[i].Pass || r.Verdict.Evidence[i].Reason != "":
		t.Errorf("not for the right reason, which is %s:\n%s", fails, evidence(r.Verdict))
	}
}

// needsMinutes skips a scenario that waits for a whole minute, unless CI runs everything or
// -run names it. TestTimeWaitTimers shows the same from the kernel's timers.
func needsMinutes(t *testing.T, name string) {
	t.Helper()
	if name == "time-wait-length" && !everything && !strings.Contains(flag.Lookup("test.run").Value.String(), name) {
		t.Skip("waits for a minute: CI=true, or -run " + t.Name())
	}
}

// busy are those that use all that a machine has.
var busy = []string{"retransmit", "port-search-cliff"}

// decided runs a scenario until there is a verdict: a machine that stands still may leave it
// undecided, and that may be tried again. A claim that is not reproduced may not.
func decided(t *testing.T, run func() *metrics.Result) *metrics.Result {
	t.Helper()
	const attempts = 10
	for i := 1; ; i++ {
		r := run()
		if r.Verdict.Outcome != metrics.Undecided || i == attempts {
			return r
		}
		t.Logf("undecided in attempt %d of %d: %s\n%s", i, attempts, r.Verdict.Why, evidence(r.Verdict))
	}
}

// reproduced checks that the claim is seen.
func reproduced(t *testing.T, r *metrics.Result) {
	t.Helper()
	if r.Verdict.Outcome != metrics.Reproduced {
		t.Errorf("%s: %s\n%s", r.Verdict.Outcome, r.Verdict.Why, evidence(r.Verdict))
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
			needsMinutes(t, s.Name)
			if !slices.Contains(busy, s.Name) {
				t.Parallel()
			}
			how, ok := wrong[s.Name]
			if !ok {
				t.Fatal("nothing takes its mechanism away: can its verdict fail?")
			}
			inThreeWays(t, s, how, func(how change) *metrics.Result { return shown(t, s.Name, how) })
		})
	}
}

// inThreeWays judges a scenario as it is, without its mechanism, and without each of its samples.
// scripts/verdicts makes a table of what it logs.
func inThreeWays(t *testing.T, s *Scenario, broken change, run func(change) *metrics.Result) {
	t.Helper()
	as := decided(t, func() *metrics.Result { return run(change{}) })
	reproduced(t, as)
	if testing.Short() {
		return
	}
	without := decided(t, func() *metrics.Result { return run(broken) })
	refuted(t, without, broken.fails)
	if as.Verdict.Outcome == metrics.Reproduced {
		t.Logf("verdict: %s %s %s", as.Verdict.Outcome, without.Verdict.Outcome, unseen(t, s, as))
	}
}

// What sock_diag showed of a connection is what the kernel's tracepoints told of it.
func TestTracepointsAgree(t *testing.T) {
	r := shown(t, "four-way-close", change{})
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

// With real parameters phases differ as the file says, and so does the time between heartbeats.
func TestRealistic(t *testing.T) {
	t.Parallel()
	remedies, _ := Find("time-wait-remedies")
	if err := remedies.Realistic(); err != nil {
		t.Fatal(err)
	}
	plans, err := remedies.Plans(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range plans {
		ranges := map[string]string{"nothing": "32768 60999", "wider_range": "1024 65535"}
		want := cmp.Or(ranges[st.Name], ranges["nothing"])
		got := map[string]string{}
		for _, s := range cmp.Or(st.Phenomenon, remedies.Phenomenon).Client {
			got[s.Key] = s.Value
		}
		if c := st.Plan.Client; got["net.ipv4.ip_local_port_range"] != want || c.Duration != 55*time.Second || slices.Contains(st.Load(), "--rate 27.5") != (st.Name == "long") {
			t.Errorf("%s: %v for %v, want the ports %s for 55s", st.Name, got, c.Duration, want)
		}
	}
	designs, _ := Find("heartbeat-designs")
	before := designs.Phenomenon.Experiment.Interval
	if err := designs.Realistic(); err != nil {
		t.Fatal(err)
	}
	if d := designs.Phenomenon.Experiment.Interval; before != 250*time.Millisecond || d != 5*time.Second {
		t.Errorf("a beat every %v, and with real parameters every %v", before, d)
	}
	if again, _ := Find("heartbeat-designs"); again.Phenomenon.Experiment.Interval != before {
		t.Error("the catalogue has changed")
	}
}
