// Command document writes docs/scenarios: a page for each scenario of the catalogue, with what
// its file says and what a run of it prints.
//
//	go run ./scripts/document                  all of them; takes some minutes
//	go run ./scripts/document handshake mss    these
package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"tcpbench/scenarios"
	"tcpbench/scenarios/experiment/bench"
	"tcpbench/scenarios/file"
)

func main() {
	if err := document(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "document:", err)
		os.Exit(1)
	}
}

func document(names []string) error {
	tmp, err := os.MkdirTemp("", "document")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	binary := filepath.Join(tmp, "tcpbench")
	if out, err := exec.Command("go", "build", "-o", binary, "./cmd/tcpbench").CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	all := scenarios.Builtins()
	if len(names) > 0 {
		all = nil
		for _, name := range names {
			s, ok := scenarios.Find(name)
			if !ok {
				return fmt.Errorf("no scenario %q", name)
			}
			all = append(all, s)
		}
	}
	if err := os.MkdirAll(filepath.Dir(pathOf("docs", "any")), 0o755); err != nil {
		return err
	}
	for _, s := range all {
		fmt.Println(s.Name)
		output, err := shown(binary, s.Name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(pathOf("docs", s.Name), page(s, output), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// pathOf is where the page of a scenario stands.
func pathOf(docs, name string) string { return filepath.Join(docs, "scenarios", name+".md") }

// shown runs a scenario and returns what it prints. One that is not reproduced is no page.
func shown(binary, name string) (string, error) {
	var out, complaint bytes.Buffer
	c := exec.Command(binary, "run", name)
	c.Stdout, c.Stderr = &out, &complaint
	if err := c.Run(); err != nil {
		return "", errors.Join(fmt.Errorf("run %s: %w", name, err), errors.New(out.String()+complaint.String()))
	}
	return out.String(), nil
}

const fence = "```"

// page is the page of a scenario, with what a run has printed.
func page(s *scenarios.Scenario, output string) []byte {
	var b bytes.Buffer
	p := s.Phenomenon
	fmt.Fprintf(&b, "# %s\n\n**%s%s.**\n\n%s\n", s.Name, strings.ToUpper(s.Summary[:1]), s.Summary[1:], introduction(string(s.Text)))
	if !p.Benchmark() {
		fmt.Fprintf(&b, "\n## What is claimed\n\n%s\n", p.Claim)
	}
	fmt.Fprint(&b, "\n## What is done\n\n")
	for i, step := range p.Steps {
		fmt.Fprintf(&b, "%d. %s\n", i+1, step)
	}
	how := "It takes about %v, in [a lab](../lab.md) of its own. Its file is [%s.yaml](../../scenarios/catalogue/%s.yaml)"
	if p.Host {
		how = "It takes about %v, on this host itself. Its file is [%s.yaml](../../scenarios/catalogue/%s.yaml)"
	}
	fmt.Fprintf(&b, "\n"+how, p.Takes, s.Name, s.Name)
	if p.Experiment != nil {
		source := strings.ReplaceAll(p.Experiment.Name, "-", "_") + ".go"
		fmt.Fprintf(&b, "; how it acts stands in [%s](../../scenarios/experiment/%s)", source, source)
	}
	fmt.Fprintf(&b, ".\n\n## What it shows\n\n%s\n$ tcpbench run %s\n%s%s\n", fence, s.Name, output, fence)
	if !p.Benchmark() {
		fmt.Fprint(&b, "\n## What decides\n\n")
		deciding(&b, p)
	}
	if p.Experiment != nil {
		fmt.Fprint(&b, "\n| name | meaning |\n|---|---|\n")
		for _, f := range p.Experiment.Facts {
			fmt.Fprintf(&b, "| `seen.%s` | %s |\n", f.Name, f.Means)
		}
	}
	if p.Loopback != nil {
		withoutLab(&b, s)
	}
	fmt.Fprintf(&b, "\n## In production\n\n%s\n", p.Production)
	return b.Bytes()
}

// deciding lists which evidence decides, and when it does not.
func deciding(b *bytes.Buffer, p *file.Phenomenon) {
	for _, e := range p.Verdict() {
		fmt.Fprintf(b, "- `%s`\n", e)
	}
	if len(p.Conditions()) > 0 {
		fmt.Fprint(b, "\nIt is UNDECIDED unless these hold:\n\n")
	}
	for _, c := range p.Conditions() {
		fmt.Fprintf(b, "- `%s`; otherwise: %s\n", c[1], c[0])
	}
}

// withoutLab is the part of a page about what is done on loopback, as far as that differs.
func withoutLab(b *bytes.Buffer, s *scenarios.Scenario) {
	p, own := s.Phenomenon, s.Phenomenon.Loopback.Scenario().Phenomenon
	fmt.Fprintf(b, "\n## Without a lab\n\nWhere no network namespace can be had, and with `tcpbench run %s --where loopback`, it is shown on this host's loopback, in about %v. "+
		"Evidence: %s\n", s.Name, own.Takes, p.Loopback.Evidence)
	if !slices.Equal(own.Steps, p.Steps) {
		fmt.Fprintln(b)
		for i, step := range own.Steps {
			fmt.Fprintf(b, "%d. %s\n", i+1, step)
		}
	}
	r := p.Loopback.Report("")
	for _, end := range []struct {
		name    string
		options map[string]string
	}{{"client", r.Client}, {"server", r.Server}} {
		for _, name := range slices.Sorted(maps.Keys(end.options)) {
			fmt.Fprintf(b, "\nSockets of the %s have %s = %s.\n", end.name, name, end.options[name])
		}
	}
	if slices.Equal(own.Verdict(), p.Verdict()) && slices.Equal(own.Conditions(), p.Conditions()) {
		fmt.Fprintln(b, "\nThe same decides.")
	} else {
		fmt.Fprintln(b, "\nThis decides:")
		fmt.Fprintln(b)
		deciding(b, own)
	}
	if p.Experiment == nil {
		return
	}
	var more []bench.Fact
	for _, f := range p.Experiment.LoopbackFacts() {
		if !slices.ContainsFunc(p.Experiment.Facts, func(known bench.Fact) bool { return known.Name == f.Name }) {
			more = append(more, f)
		}
	}
	if len(more) == 0 {
		return
	}
	fmt.Fprint(b, "\n| name | meaning |\n|---|---|\n")
	for _, f := range more {
		fmt.Fprintf(b, "| `seen.%s` | %s |\n", f.Name, f.Means)
	}
}

// introduction is the comment at the start of a scenario's file.
func introduction(text string) string {
	var words []string
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, "#")
		if !ok {
			break
		}
		words = append(words, strings.Fields(rest)...)
	}
	return strings.Join(words, " ")
}
