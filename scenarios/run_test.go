package scenarios

import (
	"context"
	"flag"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"tcpbench/internal/agent"
	"tcpbench/internal/probe"
	"tcpbench/loadgen"
	"tcpbench/metrics"
	"tcpbench/scenarios/expect"
	"tcpbench/scenarios/stage"
	"tcpbench/scenarios/workload"
)

// The children of a run are this binary again.
func TestMain(m *testing.M) {
	if agent.Invoked() {
		os.Exit(agent.Main(stage.Roles()))
	}
	// The race detector lets a process that ends sleep for a second; there are hundreds.
	os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	// What runs in parallel waits for timers of the kernel, not for processors.
	flag.Parse()
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	os.Exit(probe.Tests(m.Run, os.Stdin, os.Stdout, os.Stderr))
}

// everything tells that nothing is left out to save time.
var everything = os.Getenv("CI") == "true"

// planned reads a workload from the words of a command line.
func planned(t *testing.T, name, args string) (stage.Plan, error) {
	t.Helper()
	s, ok := Find(name)
	if !ok {
		t.Fatalf("no scenario %s", name)
	}
	plans, err := s.Plans(t.Context(), overrides(t, s, args))
	if err != nil {
		return stage.Plan{}, err
	}
	return plans[0].Plan, nil
}

// overrides reads the words of a command line.
func overrides(t *testing.T, s *Scenario, args string) []workload.Setting {
	t.Helper()
	f := pflag.NewFlagSet(s.Name, pflag.ContinueOnError)
	s.Preset(f)
	if err := f.Parse(strings.Fields(args)); err != nil {
		t.Fatal(err)
	}
	return workload.Overrides(f)
}

// staged runs it, and checks what must hold of every run.
func staged(t *testing.T, name, args string) *metrics.Result {
	t.Helper()
	plan, err := planned(t, name, args)
	if err != nil {
		t.Fatal(err)
	}
	r, err := stage.Run(t.Context(), plan, stage.Observer{})
	if err != nil {
		t.Fatalf("%s %s: %v", name, args, err)
	}
	if err := r.Balance(); err != nil {
		t.Errorf("%s %s: %v", name, args, err)
	}
	for _, c := range r.Checks {
		if !c.OK {
			t.Errorf("%s %s: %s: %s", name, args, c.Name, c.Detail)
		}
	}
	return r
}

// Every arrival with every lifecycle. Two kinds of pairs make no sense, and are refused: a
// heartbeat needs connections that stay, and what the server closes, or closes behind a
// half-close, cannot be kept or closed at a rate.
func TestEveryArrivalWithEveryLifecycle(t *testing.T) {
	t.Parallel()
	arrivals := map[string]string{
		"closed":   "--count 40 --connections 8",
		"limited":  "--count 40 --connections 8 --open-rate 500 --close-rate 500 --exchange-rate 1k",
		"constant": "--rate 200 --duration 200ms",
		"poisson":  "--rate 200 --arrival poisson --seed 1 --duration 200ms",
		"ramp":     "--rate 100..300/200ms --duration 200ms",
		"steps":    "--rate 100,300@100ms --duration 200ms",
		"burst":    "--burst 20 --every 100ms --duration 200ms",
		"hold":     "--connections 20 --hold 150ms",
	}
	lifecycles := []struct {
		args      string
		exchanges uint64 // of each connection, as the server counts them; 0: not known
		refused   string // the arrivals that cannot have it
	}{
		{"", 1, ""},
		{"--connect-only", 0, ""},
		{"--connect-only --close-how rst", 0, ""},
		{"--exchanges 3", 3, ""},
		{"--exchanges 3 --gap 10ms --jitter 0.5", 3, ""},
		{"--exchanges 5 --pipeline", 5, ""},
		{"--exchanges 2 --response-size 100k --request-size 20k", 2, ""},
		{"--stay 30ms", 1, ""},
		{"--close-how rst", 1, ""},
		{"--close-wait", 1, ""},
		{"--close-how half --exchanges 2", 2, "limited hold"},
		{"--close server", 1, "limited hold"},
		{"--close server --close-how rst --exchanges 2", 2, "limited hold"},
		{"--close both", 1, "limited hold"},
		{"--close never", 1, ""},
		{"--close never --exchanges 2 --gap 5ms", 2, ""},
		{"--heartbeat 20ms", 0, "closed limited constant poisson ramp steps burst"},
		{"--heartbeat 20ms --close never", 0, "closed limited constant poisson ramp steps burst"},
		{"--heartbeat 20ms --heartbeat-design listen", 0, "closed limited constant poisson ramp steps burst"},
		{"--heartbeat 20ms --heartbeat-design listen --close-how rst", 0, "closed limited constant poisson ramp steps burst"},
		{"--heartbeat 20ms --heartbeat-design server", 0, "closed limited constant poisson ramp steps burst"},
		{"--heartbeat 20ms --heartbeat-design server --close-wait", 0, "closed limited constant poisson ramp steps burst"},
	}
	for nth, arrival := range slices.Sorted(maps.Keys(arrivals)) {
		args := arrivals[arrival]
		t.Run(arrival, func(t *testing.T) {
			t.Parallel()
			for i, l := range lifecycles {
				if !everything && i%3 != nth%3 {
					continue // each arrival with a third of them, each of them with two arrivals at least
				}
				line := args + " " + l.args + " --warmup 0s --timeout 1m"
				if strings.Contains(l.args, "--heartbeat ") {
					line += " " + lenient
				}
				if slices.Contains(strings.Fields(l.refused), arrival) {
					if _, err := planned(t, Short, line); err == nil {
						t.Errorf("%s: accepted", line)
					}
					continue
				}
				r := staged(t, Short, line)
				if r.Succeeded != r.Attempted || r.Attempted == 0 {
					t.Errorf("%s: %d of %d succeeded: %v", line, r.Succeeded, r.Attempted, r.Failed)
				}
				if l.exchanges > 0 && r.Server.Exchanges != l.exchanges*r.Attempted {
					t.Errorf("%s: the server counts %d exchanges of %d connections", line, r.Server.Exchanges, r.Attempted)
				}
				if n := r.Server.Closed["completed"] + r.Server.Closed["unused"] + r.Server.Closed["forgotten"]; n != r.Server.Accepted {
					t.Errorf("%s: of %d connections the server closed %v", line, r.Server.Accepted, r.Server.Closed)
				}
			}
		})
	}
}

// The server's figures are of the measured time, whatever the warm-up came to, and a burst has
// none.
func TestServerCountsFromTheEndOfTheWarmUp(t *testing.T) {
	t.Parallel()
	r := staged(t, Short, "--connections 2 --open-rate 500 --warmup 300ms --duration 400ms")
	s := r.Server
	if s.WarmUp == nil || s.WarmUp.Accepted == 0 || s.Accepted == 0 {
		t.Errorf("%+v after %+v, %d succeeded", s, s.WarmUp, r.Succeeded)
	}
	if h := r.Histograms[metrics.AcceptDelay]; uint64(h.Count) > s.Accepted/64+uint64(runtime.NumCPU()) {
		t.Errorf("accept_delay has %d samples of %d connections", h.Count, s.Accepted)
	}
	r = staged(t, SYNBurst, "--burst 30 --every 50ms --duration 75ms --warmup 100ms")
	if r.Server.WarmUp != nil || r.Server.Accepted != r.Attempted {
		t.Errorf("%+v of %d in bursts", r.Server, r.Attempted)
	}
}

// One that is interrupted in the warm-up has measured nothing, on either side.
func TestInterruptedInTheWarmUp(t *testing.T) {
	t.Parallel()
	plan, err := planned(t, Short, "--connections 2 --open-rate 500 --warmup 1h")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := stage.Run(ctx, plan, stage.Observer{Period: func(loadgen.Period) { time.AfterFunc(50*time.Millisecond, cancel) }})
	if err != nil {
		t.Fatal(err)
	}
	if r.Attempted != 0 || r.Rate != 0 || r.Server.Accepted != 0 || r.Server.Exchanges != 0 || r.Server.WarmUp == nil || len(r.Series) > 0 {
		t.Errorf("%+v, rate %v, server %+v, series %v", r.Tally, r.Rate, r.Server, r.Series)
	}
	if err := r.Server.Balance(); err != nil {
		t.Error(err)
	}
}

func TestHeldPopulation(t *testing.T) {
	r := staged(t, Long, "--connections 50 --hold 300ms --heartbeat 50ms "+lenient)
	if p := r.Population; p == nil || p.Held != 50 || p.RampS <= 0 || r.ElapsedS < 0.3 {
		t.Errorf("population %+v after %v s", p, r.ElapsedS)
	}
	p := r.Population
	if p.Opened != 50 || p.OpenedPerS != 50/p.RampS || p.HeartbeatsPerS <= 0 || p.HeartbeatsPerS*p.HoldS > float64(r.Beats.Answered) {
		t.Errorf("population %+v with beats %+v", p, r.Beats)
	}
	for _, u := range []*metrics.Usage{r.CPU.Client, r.CPU.Server} {
		if u.PerOpened <= 0 || u.PerHeartbeat <= 0 || u.PerOpened*50+u.PerHeartbeat*p.HeartbeatsPerS*r.ElapsedS < 0.9e6*(u.UserS+u.SystemS) {
			t.Errorf("%+v", u)
		}
	}
	if e, err := expect.Parse("rate > 0"); err != nil {
		t.Error(err)
	} else if v := e.Judge(r); v.Reason != "no sample: rate" {
		t.Errorf("its rate is said to be %+v", v)
	}
	b := r.Beats
	if b == nil || b.Answered < 50 || b.Sent < b.Answered || b.Sent > b.Answered+b.Missed {
		t.Errorf("beats %+v", b)
	}
	if h := r.Histograms[metrics.Heartbeat]; uint64(h.Count) != b.Answered {
		t.Errorf("%d round trips of %d beats", h.Count, b.Answered)
	}
}

func TestBurstIsIssuedAtItsInstants(t *testing.T) {
	r := staged(t, SYNBurst, "--burst 30 --every 100ms --duration 250ms")
	if len(r.Bursts) != 3 || r.Attempted != 90 {
		t.Fatalf("%d attempts in bursts %+v", r.Attempted, r.Bursts)
	}
	for i, b := range r.Bursts {
		if b.Issued != 30 || b.LateNS < 0 || b.SpreadNS <= 0 || b.DueS != float64(i)/10 {
			t.Errorf("burst %d: %+v", i, b)
		}
	}
}

// Arrivals of a profile are those of its mass: neither more nor fewer.
func TestRampOffersItsMass(t *testing.T) {
	r := staged(t, Short, "--rate 100..300/500ms --duration 500ms --warmup 0s")
	if n := r.Attempted + r.Missed; n < 99 || n > 101 {
		t.Errorf("%d arrivals, want 100", n)
	}
	if r.RateIntended == nil || *r.RateIntended < 190 || *r.RateIntended > 210 {
		t.Errorf("intended %v", r.RateIntended)
	}
}

// An option that a kernel cannot have is refused by name, before anything is loaded.
func TestUnknownCongestionControlIsRefused(t *testing.T) {
	plan, err := planned(t, Short, "--congestion nosuch --count 10")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stage.Run(t.Context(), plan, stage.Observer{}); err == nil || !strings.Contains(err.Error(), `"nosuch"`) {
		t.Errorf("error %v", err)
	}
}

func TestSocketOptions(t *testing.T) {
	for _, args := range []string{
		"--nodelay --quickack --reuseaddr --syncnt 3 --tos 16 --user-timeout 5s --keepalive 10s --keepalive-interval 5s --keepalive-probes 3",
		"--server-keepalive 10s --keepalive-interval 5s --server-user-timeout 5s --defer-accept 3s",
		"--local-ports 20000-29999", "--local-ports 21000-21999 --explicit-ports --sources 127.0.0.7", "--congestion reno", "--bind-port",
	} {
		r := staged(t, Short, args+" --count 20 --connections 4 --warmup 0s")
		if r.Succeeded != 20 {
			t.Errorf("%s: %d of 20 succeeded: %v", args, r.Succeeded, r.Failed)
		}
	}
}
