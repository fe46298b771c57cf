package report

import (
	"fmt"
	"io"

	"tcpbench/metrics"
)

// Findings writes the observation, mechanism, evidence and remedies of each finding.
func Findings(w io.Writer, all []metrics.Finding, style Style) error {
	p := style.page()
	p.findings(all)
	return p.flush(w)
}

// Warnings writes only the observation of each, before a run.
func Warnings(w io.Writer, all []metrics.Finding, style Style) error {
	p := style.page()
	for i := range all {
		p.hang("forecast: ", warning, sentence(all[i].Name, all[i].What), plain)
	}
	return p.flush(w)
}

func (p *page) findings(all []metrics.Finding) {
	for i := range all {
		f := &all[i]
		p.line("")
		p.entry("found", failure, sentence(f.Name, f.What))
		if f.Mechanism != "" {
			p.entry("  why", label, words(f.Mechanism))
		}
		var items []string
		for _, v := range f.Evidence {
			items = append(items, clean(v.Name)+" "+value(v))
		}
		if len(items) > 0 {
			p.entry("  seen", label, listed(items, ","))
		}
		for k, r := range f.Remedies {
			head := ""
			if k == 0 {
				head = "  do"
			}
			text := clean(r.Do)
			if r.Cost != "" && r.Cost != "none" {
				text += fmt.Sprintf(" (costs: %s)", clean(r.Cost))
			}
			p.hang(pad(head, 8)+"· ", label, words(text), plain)
		}
	}
}
