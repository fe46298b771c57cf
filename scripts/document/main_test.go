package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"tcpbench/scenarios"
)

// Each scenario has a page, which says what its file says; and the run in it is one of that
// scenario that has shown what it claims.
func TestPagesAreOfTheirScenarios(t *testing.T) {
	pages, err := filepath.Glob("../../docs/scenarios/*.md")
	if err != nil {
		t.Fatal(err)
	}
	if all := scenarios.Builtins(); len(pages) != len(all) {
		t.Errorf("%d pages of %d scenarios", len(pages), len(all))
	}
	for _, s := range scenarios.Builtins() {
		text, err := os.ReadFile(pathOf("../../docs", s.Name))
		if err != nil {
			t.Error(err)
			continue
		}
		for _, link := range regexp.MustCompile(`\]\(([^)]+)\)`).FindAllStringSubmatch(string(text), -1) {
			if _, err := os.Stat(filepath.Join("../../docs/scenarios", link[1])); err != nil {
				t.Errorf("%s: a link leads nowhere: %v", s.Name, err)
			}
		}
		_, rest, _ := strings.Cut(string(text), "$ tcpbench run "+s.Name+"\n")
		output, _, found := strings.Cut(rest, fence)
		if !found || strings.Contains(output, "\nREPRODUCED\n") == s.Phenomenon.Benchmark() {
			t.Errorf("%s: no run that has shown anything", s.Name)
		}
		for _, e := range s.Phenomenon.Verdict() {
			if first := strings.Fields(e)[0]; !strings.Contains(output, "PASS    "+first) {
				t.Errorf("%s: the run in it was not judged by %s", s.Name, e)
			}
		}
		if want := page(s, output); string(want) != string(text) {
			t.Errorf("%s: the page is not of its file: go run ./scripts/document %s", s.Name, s.Name)
		}
	}
}
