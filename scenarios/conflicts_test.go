package scenarios

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"tcpbench/scenarios/file"
	"tcpbench/scenarios/stage"
	"tcpbench/scenarios/workload"
)

// sensible is a value of each flag that a user may well write, alone. $FILE is a file.
var sensible = map[string][]string{
	"target": {"127.0.0.1:9", "[::1]:9"}, "duration": {"3s"}, "count": {"100", "5000"}, "warmup": {"0s", "1s"}, "timeout": {"2s"},
	"connections": {"10", "5000"}, "rate": {"1k", "1k..5k/3s"}, "arrival": {"poisson"}, "burst": {"100", "0"}, "every": {"2s", "0s"},
	"hold": {"3s"}, "replace": {"true"}, "open-rate": {"1k"}, "exchange-rate": {"100"}, "close-rate": {"100"}, "seed": {"7"},
	"observe": {"false"}, "bpf": {"true"}, "threads": {"1"}, "sources": {"127.0.0.1", "::1"}, "on-exhausted": {"wait"},
	"exchanges": {"3", "1"}, "gap": {"10ms"}, "jitter": {"0.5"}, "pipeline": {"true"}, "check-content": {"true"}, "stay": {"1s"},
	"heartbeat": {"1s", "0s"}, "missed": {"5"}, "heartbeat-design": {"listen", "server"}, "heartbeat-phase": {"random", "aligned"},
	"close": {"client", "server", "both", "never"}, "close-how": {"fin", "rst", "half"}, "close-wait": {"true"},
	"request-size": {"0", "1k"}, "response-size": {"0", "1k"}, "payload": {"x"}, "payload-file": {"$FILE"}, "payload-lines": {"true"}, "hello": {"x"}, "hello-until": {"bytes:5"}, "no-preflight": {"true"}, "until": {"close", "bytes:5"},
	"connect-only": {"true"}, "nodelay": {"true"}, "quickack": {"true"}, "fastopen": {"true"}, "mptcp": {"true"}, "reuseaddr": {"true"},
	"bind-port": {"true"}, "local-ports": {"20000-29999"}, "explicit-ports": {"true"}, "syncnt": {"3"}, "tos": {"8"}, "congestion": {"reno"},
	"keepalive": {"5s"}, "keepalive-interval": {"1s"}, "keepalive-probes": {"3"}, "user-timeout": {"1s"}, "fin-timeout": {"5s"},
	"ports": {"9000-9003"}, "ipv4": {"true"}, "ipv6": {"true"}, "server-loops": {"1"}, "backlog": {"16"}, "defer-accept": {"1s"},
	"server-keepalive": {"5s"}, "server-user-timeout": {"1s"},
}

// crowded are scenarios that set what those of the catalogue do not.
var crowded = []string{
	"name: a\nrun: {target: '127.0.0.1:9', payload: x, until: close, gap: 1s, exchanges: 2, nodelay: true}",
	"name: b\nrun: {target: '127.0.0.1:9', payload: x, until: 'bytes:1', close: client, close-wait: true, sources: 127.0.0.1}",
	"name: c\nrun: {exchanges: 5, pipeline: true, close: server, close-how: rst, ports: 9000-9003, backlog: 5}",
	"name: d\nrun: {hold: 3s, replace: true, heartbeat: 1s, heartbeat-design: server, missed: 5, ipv6: true, open-rate: 1k}",
	"name: e\nrun: {rate: 1k, arrival: poisson, seed: 7, close-wait: true, keepalive: 5s, keepalive-probes: 3, bpf: true, ipv4: true}",
	"name: f\nrun: {burst: 100, count: 100, close-how: half, explicit-ports: true, local-ports: 20000-29999}",
	"name: g\nrun: {burst: 100, every: 1s, count: 1000, connect-only: true, sources: '::1', ipv6: true}",
	"name: h\nrun: {hold: 3s, stay: 1s, close-rate: 5, request-size: 0, bind-port: true}",
	"name: i\nrun: {connections: 50}\nphases: [{name: x, rate: 5, heartbeat: 0s}, {name: y, hold: 1s, heartbeat: 1s}]",
}

// everyScenario lists those with a load.
func everyScenario(t testing.TB) []*Scenario {
	all := slices.DeleteFunc(Builtins(), (*Scenario).Experiment)
	for _, text := range crowded {
		s, err := file.Read("crowded.yaml", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

// A flag of the user never contradicts a preset: the run is planned, or the error blames what
// the user wrote, and nothing else.
func TestWhatTheUserWritesWins(t *testing.T) {
	file := filepath.Join(t.TempDir(), "payload")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, s := range everyScenario(t) {
		for name, texts := range sensible {
			for _, text := range texts {
				over := []workload.Setting{{Name: name, Value: strings.ReplaceAll(text, "$FILE", file)}}
				_, err := s.Plans(t.Context(), over)
				blamesOnly(t, s, over, err)
			}
		}
	}
}

// The same of any two flags of the user.
func TestTwoFlagsOfTheUser(t *testing.T) {
	each := 9 // of so many pairs one is enough, but for CI
	if everything {
		each = 1
	}
	file := filepath.Join(t.TempDir(), "payload")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	var all []workload.Setting
	for name, texts := range sensible {
		for _, text := range texts {
			all = append(all, workload.Setting{Name: name, Value: strings.ReplaceAll(text, "$FILE", file)})
		}
	}
	for _, s := range everyScenario(t) {
		if s.Phenomenon != nil && !slices.Contains([]string{Long, SYNBurst, "fin-wait-2", "retransmit"}, s.Name) {
			continue // they set no more than these
		}
		for i, a := range all {
			for j, b := range all[:i] {
				if a.Name == b.Name || (i+j)%each > 0 {
					continue
				}
				over := []workload.Setting{a, b}
				blamesOnly(t, s, over, s.Check(over))
			}
		}
	}
}

func blamesOnly(t *testing.T, s *Scenario, over []workload.Setting, err error) {
	t.Helper()
	if err == nil {
		return
	}
	mine := func(flag string) bool {
		return slices.ContainsFunc(over, func(o workload.Setting) bool { return o.Name == flag })
	}
	var m workload.Misuse
	if !errors.As(err, &m) || !mine(m.Flag) || m.With != "" && !mine(m.With) || strings.Contains(err.Error(), ".yaml:") {
		t.Errorf("%s %v: the error blames what the user did not write: %v", s.Name, over, err)
	}
}

// A population that the scenario holds does not give way to a warm-up, which it cannot have.
func TestHeldPopulationHasNoWarmUp(t *testing.T) {
	for args, refused := range map[string]bool{"--warmup 1s": true, "--warmup 0s": false, "--warmup 1s --rate 10": false} {
		if _, err := planned(t, Long, args); (err != nil) != refused {
			t.Errorf("%s: %v", args, err)
		}
	}
}

// A flag that the table of values lacks is one that nobody has thought about.
func TestEveryFlagHasASensibleValue(t *testing.T) {
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	Blank().Preset(f)
	f.VisitAll(func(flag *pflag.Flag) {
		if len(sensible[flag.Name]) == 0 {
			t.Errorf("--%s", flag.Name)
		}
	})
}

// The presets that give way are those that must, and what they had said is gone.
func TestPresetsGiveWay(t *testing.T) {
	for _, c := range []struct{ scenario, args, gone, settings string }{
		{Long, "--duration 3s", "hold", "hold=3s heartbeat=5s connections=1000 duration="},
		{Long, "--duration 3s --count 5", "hold heartbeat", "hold= heartbeat= duration=3s"},
		{Long, "--rate 1k", "connections hold open-rate heartbeat", "rate=1k connections=CAPPED hold= duration=10s"},
		{Long, "--rate 1k --connections 50", "hold open-rate heartbeat", "connections=50"},
		{Long, "--burst 100", "connections hold open-rate heartbeat", "connections=100"},
		{Long, "--count 100", "hold heartbeat", "connections=1000 duration= open-rate=5k"},
		{Long, "--connect-only", "heartbeat", "hold=12s"},
		{Long, "--exchanges 3", "heartbeat", "hold=12s exchanges=3"},
		{Long, "--payload x --target 127.0.0.1:9", "heartbeat", "hold=12s"},
		{Long, "--close server", "hold heartbeat", "close=server"},
		{Short, "--hold 3s", "", "hold=3s connections=64"},
		{SYNBurst, "--rate 5k", "burst every", "rate=5k burst= every="},
		{"fin-wait-2", "--close client", "", "close=client"},
		{"fin-wait-2", "--close-how rst", "close", "close=client close-how=rst"},
		{"fin-wait-2", "--hold 3s", "rate duration", "hold=3s rate="},
		{"fin-wait-2", "--count 10", "duration", "duration="},
		{"syn-loss", "--close server", "connect-only", "close=server"},
		{"time-wait-exhaustion", "-6", "sources", "sources="},
	} {
		s, _ := Find(c.scenario)
		plans, err := s.Plans(t.Context(), overrides(t, s, c.args))
		if err != nil {
			t.Errorf("%s %s: %v", c.scenario, c.args, err)
			continue
		}
		want := strings.Fields(c.gone)
		var gone []string
		for _, words := range plans[0].Gone {
			name, _, _ := strings.Cut(strings.TrimPrefix(words, "--"), " ")
			gone = append(gone, name)
		}
		slices.Sort(gone)
		if slices.Sort(want); !slices.Equal(gone, want) {
			t.Errorf("%s %s: %v have given way, want %v", c.scenario, c.args, gone, want)
		}
		for _, set := range strings.Fields(c.settings) {
			name, value, _ := strings.Cut(set, "=")
			if value == "CAPPED" {
				value = strconv.Itoa(min(10000, stage.MostConnections()))
			}
			if got := plans[0].Plan.Settings[name]; got != value {
				t.Errorf("%s %s: %s is %q, want %q", c.scenario, c.args, name, got, value)
			}
		}
	}
}
