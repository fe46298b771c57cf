package metrics

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the tables of docs anew")

// The tables of histograms and quantities in docs are generated from their definitions.
func TestDocsAreGenerated(t *testing.T) {
	histograms := "| histogram | from | to |\n|---|---|---|\n"
	for _, k := range kinds {
		histograms += strings.ReplaceAll(fmt.Sprintf("| `%s` | %s | %s |\n", k.name, k.from, k.to), "|  |", "| |")
	}
	quantities := "| names | unit | better | what they are |\n|---|---|---|---|\n"
	for _, q := range QuantityGroups() {
		names := "`" + strings.ReplaceAll(q.Name, ", ", "`, `") + "`"
		unit := map[string]string{Nanoseconds: "time", Share: "share, 0 to 1"}[q.Unit]
		if unit == "" {
			unit = q.Unit
		}
		quantities += strings.ReplaceAll(fmt.Sprintf("| %s | %s | %s | %s |\n", names, unit, q.Better, q.Meaning), "|  |", "| |")
	}
	quantities = strings.ReplaceAll(quantities, "|  |", "| |")
	for path, table := range map[string]string{"../docs/histograms.md": histograms, "../docs/scenario-files.md": quantities} {
		const begin, end = "<!-- generated: go test ./metrics -update -->\n", "<!-- end -->\n"
		text := document(t, path)
		before, rest, ok := strings.Cut(text, begin)
		_, after, also := strings.Cut(rest, end)
		if !ok || !also {
			t.Errorf("%s has no marks", path)
			continue
		}
		want := before + begin + table + end + after
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		} else if text != want {
			t.Errorf("%s is not what the definitions say: go test ./metrics -update", path)
		}
	}
}

// docs describe every field, outcome and stage.
func TestDocsDescribeEveryField(t *testing.T) {
	result, histograms := document(t, "../docs/result.md"), document(t, "../docs/histograms.md")
	for _, name := range fields(reflect.TypeFor[Result](), map[reflect.Type]bool{}) {
		if both := result + histograms; !strings.Contains(both, "`"+name+"`") && !strings.Contains(both, "."+name+"`") {
			t.Errorf("docs/result.md and docs/histograms.md have no `%s`", name)
		}
	}
	for o := Succeeded + 1; o < Outcomes; o++ {
		if !strings.Contains(result, "`"+o.String()+"`") {
			t.Errorf("docs/result.md has no outcome `%s`", o)
		}
	}
	for s := range Stages {
		if !strings.Contains(result, "`"+s.String()+"`") {
			t.Errorf("docs/result.md has no stage `%s`", s)
		}
	}
}

func document(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// fields lists the JSON names of a type and of its fields' types.
func fields(typ reflect.Type, seen map[reflect.Type]bool) (names []string) {
	switch typ.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return fields(typ.Elem(), seen)
	case reflect.Struct:
	default:
		return nil
	}
	if typ == reflect.TypeFor[time.Time]() || seen[typ] {
		return nil
	}
	seen[typ] = true
	for i := range typ.NumField() {
		f := typ.Field(i)
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			names = append(names, name)
		}
		names = append(names, fields(f.Type, seen)...)
	}
	return names
}
