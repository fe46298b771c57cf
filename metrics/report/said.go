package report

import (
	"fmt"
	"strings"

	"tcpbench/metrics"
)

// shownTexts is how many of the server's answers the text names; the document has more.
const shownTexts = 3

// said tells what the server answered on connections that failed.
func (p *page) said(r *metrics.Result) {
	s := r.Said
	if s == nil || len(s.Texts) == 0 {
		return
	}
	p.line("")
	head := "server said  "
	entry := func(text string) {
		p.hang(head, label, []string{text}, plain)
		head = strings.Repeat(" ", columns(head))
	}
	for _, t := range s.Texts[:min(len(s.Texts), shownTexts)] {
		begin := Count(t.Count) + ` × "`
		room := p.width - columns(head) - columns(begin) - 1
		entry(begin + clip(clean(t.Text), room) + `"`)
	}
	if n := len(s.Texts) - shownTexts; n > 0 || s.Others > 0 {
		entry("and other answers")
	}
	if failed := r.TotalFailed(); s.Sampled() < failed {
		entry(fmt.Sprintf("%s answers of %s failures were looked at", Count(s.Sampled()), Count(failed)))
	}
}
