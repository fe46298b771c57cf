// Package report draws views of documents for a terminal: a result, a comparison, the kernel's state,
// and the line that shows the progress of a run.
//
// Every view is a pure function of its document. A failure, histogram or flag that this version does
// not know is shown under its own name. Measured numbers have three digits, counts have all.
package report

import (
	"fmt"
	"io"
	"slices"

	"tcpbench/metrics"
)

// Style is how a text is drawn. The zero value is plain text of 80 columns.
type Style struct {
	Color bool // marks failures, flags and headings with ANSI codes
	Width int  // longest line in columns: zero means 80, and less than 60 means 60
}

const (
	usualWidth = 80
	leastWidth = 60
)

// Text writes the summary of a result for a terminal.
func Text(w io.Writer, r *metrics.Result, style Style) error {
	p := style.page()
	if r.Experiment != nil || r.Verdict != nil && len(r.Phases) > 0 {
		p.shown(r)
		return p.flush(w)
	}
	for i := range r.Phases {
		phase := &r.Phases[i]
		p.rule("phase " + clean(phase.Name))
		p.whole(&phase.Result)
		p.line("")
	}
	if len(r.Phases) > 0 {
		p.rule("all phases")
	}
	p.whole(r)
	return p.flush(w)
}

// page returns an empty page.
func (s Style) page() *page {
	width := s.Width
	if width <= 0 {
		width = usualWidth
	}
	return &page{width: max(width, leastWidth), color: s.Color}
}

// flush writes the page out.
func (p *page) flush(w io.Writer) error {
	if _, err := io.WriteString(w, p.String()); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// shown draws a result with a claim, of single connections or of several phases to compare.
func (p *page) shown(r *metrics.Result) {
	p.claim(r.Verdict)
	p.headline(r)
	p.lab(r.Lab)
	p.loopback(r.Loopback)
	p.line("")
	if r.Experiment != nil {
		p.experiment(r)
	} else {
		p.arms(r)
	}
	// The flags describe the phenomenon itself, except those that make the run worthless.
	sound := *r
	sound.Flags = slices.DeleteFunc(slices.Clone(r.Flags), func(f metrics.Flag) bool { return !f.Worthless() })
	p.soundness(&sound)
	p.verdict(r)
}

// whole draws one result.
func (p *page) whole(r *metrics.Result) {
	p.claim(r.Verdict)
	p.headline(r)
	p.lab(r.Lab)
	p.loopback(r.Loopback)
	p.tally(r)
	p.said(r)
	p.rate(r)
	p.special(r)
	p.latencies(r)
	p.processors(r)
	p.populations(r)
	p.kernel(r)
	p.soundness(r)
	p.findings(r.Findings)
	p.judged(r.Expectations, "FAIL")
	p.steps(r)
	p.verdict(r)
}
