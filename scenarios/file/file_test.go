package file

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tcpbench/loadgen/pace"
	"tcpbench/scenarios/stage"
	"tcpbench/scenarios/workload"
)

// catalogued is a scenario that comes with the program.
func catalogued(t *testing.T, name string) *Scenario {
	t.Helper()
	f, err := os.Open("../catalogue/" + name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, err := Read(name, f)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func read(text string) (*Scenario, error) { return Read("f.yaml", strings.NewReader(text)) }

// Mistakes are named with their place and the remedy.
func TestMistakesInScenarioFiles(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"empty", "", "f.yaml:1:1: it is empty: a scenario has name"},
		{"comment alone", "# nothing\n", "f.yaml:1:1: it is empty"},
		{"a list", "- name: x\n", "f.yaml:1:1: a list: want a scenario"},
		{"a word", "short\n", "f.yaml:1:1: a single value: want a scenario"},
		{"two documents", "name: x\n---\nname: y\n", "f.yaml:3:5: a second document"},
		{"tab", "name: x\nrun:\n\trate: 1k\n", "f.yaml:3:1: "},
		{"open quote", "name: \"x\n", "f.yaml:1:7: "},
		{"no name", "run:\n  rate: 1k\n", "no name: add one"},
		{"name of two words", "name: two words\n", `f.yaml:1:7: "two words": want one word`},
		{"unknown key", "name: x\nexpct:\n  - rate > 1\n", `f.yaml:2:1: unknown key "expct": did you mean expect?`},
		{"key twice", "name: x\nrun:\n  rate: 1k\n  rate: 2k\n", "f.yaml:4:3: "},
		{"unknown flag", "name: x\nrun:\n  conections: 3\n", `f.yaml:3:3: unknown flag "conections": did you mean connections?`},
		{"dashes", "name: x\nrun:\n  --rate: 3\n", "f.yaml:3:3: flags stand here without their dashes: rate"},
		{"underscore", "name: x\nrun:\n  open_rate: 3\n", `f.yaml:3:3: unknown flag "open_rate": did you mean open-rate?`},
		{"presentation", "name: x\nrun:\n  quiet: true\n", "f.yaml:3:3: quiet is for the command line"},
		{"bad unit", "name: x\nrun:\n  duration: 10\n", "f.yaml:3:13: duration: "},
		{"bad rate", "name: x\nrun:\n  rate: 1kk\n", "f.yaml:3:9: rate: "},
		{"bad word", "name: x\nrun:\n  close: me\n", "f.yaml:3:10: close: "},
		{"nothing", "name: x\nrun:\n  rate:\n", "nothing: want a single value"},
		{"a mapping", "name: x\nrun:\n  rate: {from: 1}\n", "f.yaml:3:9: a mapping: want a single value"},
		{"run is a word", "name: x\nrun: short\n", "f.yaml:2:6: a single value: want flags by name"},
		{"anchor", "name: x\nrun: &a\n  rate: 1k\n", "an anchor, which scenarios do not have"},
		{"alias", "name: &n x\nsummary: *n\n", "an anchor, which scenarios do not have"},
		{"tag", "name: !!str x\n", "a tag, which scenarios do not have"},
		{"impossible pair", "name: x\nrun:\n  burst: 10\n  hold: 3s\n", "f.yaml:4:9: --hold 3s and --burst 10: a population that is kept has no arrivals"},
		{"out of range", "name: x\nrun:\n  connections: 0\n", "f.yaml:3:16: connections: want a whole number from 1 to 16777216"},
		{"phases is a word", "name: x\nphases: two\n", "f.yaml:2:9: a single value: want a list"},
		{"phase without a name", "name: x\nphases:\n  - rate: 1k\n", "f.yaml:3:5: a phase has a name"},
		{"two phases of a name", "name: x\nphases:\n  - name: a\n  - name: a\n", `f.yaml:4:11: a second phase is called "a"`},
		{"impossible with run", "name: x\nrun:\n  rate: 1k\nphases:\n  - name: a\n    burst: 3\n", "f.yaml:3:9: --rate 1k and --burst 3: these are two arrival processes"},
		{"server in a phase", "name: x\nphases:\n  - name: a\n    defer-accept: 1s\n", "f.yaml:4:5: defer-accept belongs to the server"},
		{"expect is a word", "name: x\nexpect: rate > 1\n", "f.yaml:2:9: a single value: want a list"},
		{"expectation", "name: x\nexpect:\n  - connect.p99 < 5ms\n  - conect.p99 < 5ms\n", `f.yaml:4:5: unknown name "conect.p99": did you mean connect.p99?`},
		{"inside an expectation", "name: x\nexpect:\n  - rate > 1 && rte > 2\n", `f.yaml:3:17: unknown name "rte": did you mean rate?`},
		{"brackets", "name: " + strings.Repeat("[", 100000), "f.yaml: a scenario has 65536 bytes at most"},
		{"fewer brackets", "name: " + strings.Repeat("[", 1000), "brackets 1000 deep"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := read(tt.text)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v\nwant %s", err, tt.want)
			}
			if err != nil && strings.Count(err.Error(), "\n") > 0 {
				t.Errorf("an error of several lines: %v", err)
			}
		})
	}
}

// The values of a file are those of the same flags.
func TestScenarioFileSetsFlags(t *testing.T) {
	s, err := read(`
name: all-kinds
summary: one of each
why: |
  Because.
run:
  rate: [1k, 2k@1s]
  duration: 2s
  sources: 127.0.0.7
  nodelay: true
  request-size: 4k
  ports: [9000, 9001]
  arrival: poisson
  seed: 7
`)
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "all-kinds" || s.Summary != "one of each" || s.Why != "Because." {
		t.Errorf("%+v", s)
	}
	plans, err := s.Plans(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := plans[0].Plan.Client
	if c.Process != pace.Poisson || len(c.Profile) != 2 || c.Duration != 2*time.Second || c.Seed != 7 ||
		len(c.Sources) != 1 || !c.Options.NoDelay || len(c.Lifecycle.Request) != 16+4096 || len(plans[0].Plan.Server.Addrs) != 2 {
		t.Errorf("%+v", c)
	}
}

// over is a command line of flags with a value each.
func over(line string) (all []workload.Setting) {
	for words := strings.Fields(line); len(words) > 0; words = words[2:] {
		all = append(all, workload.Setting{Name: strings.TrimPrefix(words[0], "--"), Value: words[1]})
	}
	return all
}

func TestCommandLineCountsMore(t *testing.T) {
	s, err := read("name: x\nrun:\n  connections: 7\n  open-rate: 1k\n  hold: 3s\n  heartbeat: 1s\n")
	if err != nil {
		t.Fatal(err)
	}
	plan := func(args string) (stage.Plan, error) {
		plans, err := s.Plans(t.Context(), over(args))
		if err != nil {
			return stage.Plan{}, err
		}
		return plans[0].Plan, nil
	}
	if p, err := plan("--hold 5s"); err != nil || p.Client.HoldFor != 5*time.Second || p.Client.Connections != 7 {
		t.Errorf("%+v, %v", p.Client, err)
	}
	// A rate takes the place of a population, and of the heartbeats, which need one.
	if p, err := plan("--rate 1k"); err != nil || p.Client.Process != pace.Constant || p.Client.Lifecycle.Beat != nil {
		t.Errorf("%+v, %v", p.Client, err)
	}
	if p, err := plan("--rate 1k --heartbeat 0s"); err != nil || p.Client.Process != pace.Constant || p.Client.OpenRate != 0 {
		t.Errorf("%+v, %v", p.Client, err)
	}
	// A population is held for the time that the command line says.
	if p, err := plan("--duration 4s"); err != nil || p.Client.HoldFor != 4*time.Second || p.Client.Lifecycle.Beat == nil {
		t.Errorf("%+v, %v", p.Client, err)
	}
}

func TestPhasesDifferFromRun(t *testing.T) {
	s, err := read("name: x\nrun:\n  close: server\n  duration: 1s\nphases:\n  - name: a\n    rate: 100\n  - name: b\n    rate: 200\n    duration: 2s\n    expect: [rate > 100]\n")
	if err != nil {
		t.Fatal(err)
	}
	plans, err := s.Plans(t.Context(), over("--warmup 0s"))
	if err != nil || len(plans) != 2 {
		t.Fatalf("%d plans, %v", len(plans), err)
	}
	a, b := plans[0].Plan.Client, plans[1].Plan.Client
	if plans[0].Name != "a" || a.Duration != time.Second || b.Duration != 2*time.Second || a.Warmup+b.Warmup != 0 ||
		a.Lifecycle.CloseBy.String() != "server" || b.Lifecycle.CloseBy.String() != "server" ||
		len(plans[0].Expect) != 0 || len(plans[1].Expect) != 1 || s.Expected() != 1 {
		t.Errorf("%+v\n%+v", a, b)
	}
}

func FuzzScenarioFile(f *testing.F) {
	catalogue, err := filepath.Glob("../catalogue/*.yaml")
	if err != nil || len(catalogue) == 0 {
		f.Fatal(catalogue, err)
	}
	for _, name := range catalogue {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Add([]byte("name: x\nrun: {rate: 1k..2k/3s, ports: [1, 2]}\nphases:\n- name: a\n  burst: 3\nexpect:\n- failed.connect.refused == 0\n"))
	f.Add([]byte("a: &a [*a]\n<<: *a\n"))
	f.Add([]byte("name: |\n  x\n\t- ?\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Read("f.yaml", bytes.NewReader(text))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f.yaml") && !strings.HasPrefix(err.Error(), "--") {
				t.Errorf("an error that does not name the file: %v", err)
			}
			return
		}
		if s.Runs() < 1 || s.Name == "" {
			t.Errorf("accepted: %+v", s)
		}
	})
}
