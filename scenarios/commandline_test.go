package scenarios

import (
	"encoding/json"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/spf13/pflag"
	"pgregory.net/rapid"

	"tcpbench/internal/kernel"
	"tcpbench/internal/kernel/sysinfo"
	"tcpbench/metrics"
	"tcpbench/scenarios/file"
	"tcpbench/scenarios/stage"
	"tcpbench/scenarios/workload"
)

// awkward are values that some flag takes, and many do not.
var awkward = []string{
	"0", "0s", "-1", "1", "2", "100", "65535", "65536", "16777216", "99999999999", "1000000000000000", "18446744073709551615", "1e99", "NaN", "-Inf", "0.001", "1M",
	"1ms", "10ms", "1h", "8760h", "-1s", "9223372036854775807ns", "16M", "4G", "1k..5k/3s", "0.001..100M/8760h", "1k,5k,20k@10s", "1,2,3@8760h", "true", "false", "x", "",
	"bytes:1", "bytes:9223372036854775807", "close", "a(b", "(a*)*b", "{{n:18}}{{hex}}", "{{", "a\nb\r\n", `\\x`, `\x00\|b`, `"' #:`, " x ", "\x00", "\xff", "é",
	"127.0.0.0/16", "127.0.0.1-127.0.255.254", "::1", "127.0.0.1:9,[::1]:9", "127.0.0.1:9", "1-1024", "1-65535", "9000,9001", "server", "poisson", "rst", "half", "never",
}

// drawFlags draws flags of a user, most of which mean something each.
func drawFlags(t *rapid.T, payload string) (all []workload.Setting) {
	names := slices.Sorted(maps.Keys(sensible))
	for range rapid.IntRange(0, 6).Draw(t, "flags") {
		name := rapid.SampledFrom(names).Draw(t, "flag")
		text := rapid.SampledFrom(sensible[name]).Draw(t, "value")
		switch rapid.IntRange(0, 9).Draw(t, "kind") {
		case 0:
			text = rapid.String().Draw(t, "text")
		case 1, 2:
			text = rapid.SampledFrom(awkward).Draw(t, "awkward")
		}
		if strings.HasPrefix(name, "payload") && rapid.Bool().Draw(t, "foreign") {
			all = append(all, workload.Setting{Name: "target", Value: "127.0.0.1:9"})
		}
		if name == "payload-file" {
			text = payload // and no other file of this machine
		}
		all = append(all, workload.Setting{Name: name, Value: strings.ReplaceAll(text, "$FILE", payload)})
	}
	return all
}

// namesHost tells whether a target is no address: a test asks no name server.
func namesHost(all []workload.Setting) bool {
	return slices.ContainsFunc(all, func(o workload.Setting) bool {
		for part := range strings.SplitSeq(o.Value, ",") {
			if host, _, err := net.SplitHostPort(part); err == nil && o.Name == "target" {
				if _, err := netip.ParseAddr(host); err != nil {
					return true
				}
			}
		}
		return false
	})
}

// The bounds of what may be used up before a load begins: hangs are told by processor time,
// because that does not depend on what else the machine does.
const (
	mostTime  = 5 * time.Second
	mostBytes = 1 << 30
)

// commandLine draws a command line and plans it. Either it is refused, as a mistake of the user,
// or it is forecast, and the settings of its result make the same run again: as flags of a
// scenario that sets nothing, and as the key run of a scenario file. All of this takes little
// time and memory.
func commandLine(scenarios []*Scenario, payload string, host *metrics.Host) func(*rapid.T) {
	return func(t *rapid.T) {
		s := rapid.SampledFrom(scenarios).Draw(t, "scenario")
		drawn := drawFlags(t, payload)
		if namesHost(drawn) {
			return
		}
		f := pflag.NewFlagSet("", pflag.ContinueOnError)
		s.Preset(f)
		var args []string
		for _, o := range drawn {
			args = append(args, "--"+o.Name+"="+o.Value)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := kernel.ProcessTime()
		defer func() {
			runtime.ReadMemStats(&after)
			if used := kernel.ProcessTime() - began; used > mostTime || after.TotalAlloc-before.TotalAlloc > mostBytes {
				t.Errorf("%s %q: %v of processor time, %d bytes", s.Name, args, used, after.TotalAlloc-before.TotalAlloc)
			}
		}()
		if f.Parse(args) != nil {
			return
		}
		plans, err := s.Plans(t.Context(), workload.Overrides(f))
		if err != nil {
			return
		}
		for _, stage := range plans {
			stage.Plan.Forecast(host)
			settings := maps.Clone(stage.Plan.Settings)
			delete(settings, "freeze") // a key of the phase
			text, err := json.Marshal(map[string]any{"name": stage.Plan.Name, "run": settings})
			if err != nil {
				t.Fatal(err)
			}
			var flags []workload.Setting
			for name, value := range settings {
				flags = append(flags, workload.Setting{Name: name, Value: value})
			}
			repeats(t, Blank(), flags, &stage.Plan)
			if !utf8.Valid([]byte(strings.Join(args, ""))) {
				continue // JSON has no such text
			}
			again, err := file.Read("result", strings.NewReader(string(text)))
			if err != nil {
				t.Fatalf("%s %q: %s: %v", s.Name, args, text, err)
			}
			repeats(t, again, nil, &stage.Plan)
		}
	}
}

// anyCommandLine is commandLine over all scenarios.
func anyCommandLine(t testing.TB) func(*rapid.T) {
	payload := filepath.Join(t.TempDir(), "payload")
	if err := os.WriteFile(payload, []byte("x\ny"), 0o600); err != nil {
		t.Fatal(err)
	}
	host := sysinfo.Host()
	return commandLine(append(everyScenario(t), Blank()), payload, &host)
}

func TestCommandLines(t *testing.T) { rapid.Check(t, anyCommandLine(t)) }

func FuzzCommandLine(f *testing.F) { f.Fuzz(rapid.MakeFuzz(anyCommandLine(f))) }

// repeats tells whether a scenario plans what a result tells of.
func repeats(t *rapid.T, s *Scenario, over []workload.Setting, want *stage.Plan) {
	plans, err := s.Plans(t.Context(), over)
	if err != nil {
		t.Fatalf("%v, of the settings %v", err, want.Settings)
	}
	got, wanted := plans[0].Plan, *want
	got.Name, wanted.Name, got.Freeze, wanted.Freeze = "", "", nil, nil
	got.Settings, wanted.Settings = maps.Clone(got.Settings), maps.Clone(wanted.Settings)
	delete(wanted.Settings, "freeze")
	if !reflect.DeepEqual(got, wanted) {
		t.Fatalf("the settings %v make\n%+v, want\n%+v", want.Settings, got, wanted)
	}
}
