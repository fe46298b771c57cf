package scenarios

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// drawFlags draws flags of a user that mean something each.
func drawFlags(t *rapid.T, file string) (all []Override) {
	names := slices.Sorted(maps.Keys(sensible))
	for range rapid.IntRange(0, 6).Draw(t, "flags") {
		name := rapid.SampledFrom(names).Draw(t, "flag")
		text := rapid.SampledFrom(sensible[name]).Draw(t, "value")
		all = append(all, Override{name, strings.ReplaceAll(text, "$FILE", file)})
	}
	for range rapid.SampledFrom([]int{0, 0, 0, 2}).Draw(t, "payloads") {
		all = append(all, Override{"payload", rapid.SampledFrom([]string{`x`, "a\nb\r\n", `\\x`, `{{n}}`, `a\|b`, `"' #:`, ` x `}).Draw(t, "payload")}, Override{"target", "127.0.0.1:9"})
	}
	return all
}

// The settings of a result make the same run again: as flags of a scenario that sets nothing,
// and as the key run of a scenario file.
func TestSettingsRepeatTheRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "payload")
	if err := os.WriteFile(file, []byte("x\ny"), 0o600); err != nil {
		t.Fatal(err)
	}
	all := append(everyScenario(t), Blank())
	planned := 0
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.SampledFrom(all).Draw(t, "scenario")
		over := drawFlags(t, file)
		stages, err := s.Stages(t.Context(), over)
		if err != nil {
			return
		}
		planned++
		for _, stage := range stages {
			settings := maps.Clone(stage.Plan.Settings)
			delete(settings, "freeze") // a key of the phase
			text, err := json.Marshal(map[string]any{"name": stage.Plan.Name, "run": settings})
			if err != nil {
				t.Fatal(err)
			}
			again, err := ReadScenario("result", strings.NewReader(string(text)))
			if err != nil {
				t.Fatalf("%s %v: %s: %v", s.Name, over, text, err)
			}
			var flags []Override
			for name, value := range settings {
				flags = append(flags, Override{name, value})
			}
			repeats(t, again, nil, &stage.Plan)
			repeats(t, Blank(), flags, &stage.Plan)
		}
	})
	if planned == 0 {
		t.Error("no command line was understood")
	}
}

// repeats tells whether a scenario plans what a result tells of.
func repeats(t *rapid.T, s *Scenario, over []Override, want *Plan) {
	stages, err := s.Stages(t.Context(), over)
	if err != nil {
		t.Fatalf("%v, of the settings %v", err, want.Settings)
	}
	got, wanted := stages[0].Plan, *want
	got.Name, wanted.Name, got.Freeze, wanted.Freeze = "", "", nil, nil
	got.Settings, wanted.Settings = maps.Clone(got.Settings), maps.Clone(wanted.Settings)
	delete(wanted.Settings, "freeze")
	if !reflect.DeepEqual(got, wanted) {
		t.Fatalf("the settings %v make\n%+v, want\n%+v", want.Settings, got, wanted)
	}
}
