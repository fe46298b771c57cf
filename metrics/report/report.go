// Package report draws views of a result document: what a person reads in a
// terminal after a run, and the line that moves while it runs.
//
// Every view is a pure function of the document. Nothing here measures, looks at
// the terminal or knows the flags, so that a result from last year reads like one
// of today, and each view is tested from one fixed document. The JSON view is the
// document itself: [metrics.Result.Write].
//
// Two opinions. Nothing is dropped in silence: a failure, histogram or flag that
// this version has no name for is shown under its own. And a number is as long as
// it is worth: three digits for what was measured, all digits for what was counted.
package report

import (
	"fmt"
	"io"
	"slices"

	"tcpbench/metrics"
)

// Style is how a text is drawn. The zero value is plain text of 80 columns.
type Style struct {
	// Color marks failures, flags and headings with ANSI codes.
	Color bool
	// Width is the longest line in columns; zero stands for 80, and what is less
	// than 60 for 60.
	Width int
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

// page is an empty one of the style.
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

// shown draws a result that is to show something, where single connections or several runs
// side by side do.
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
	// What its runs are flagged for is what they are to show, but for what makes them worthless.
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
