package report

import (
	"fmt"
	"strings"

	"tcpbench/metrics"
)

// shownTexts is how many of the server's answers the text lists; the document has more.
const shownTexts = 3

// said shows what the server answered on connections that failed.
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
	counts := map[string]uint64{} // however the connections failed
	for _, t := range s.Texts {
		counts[t.Text] += t.Count
	}
	texts := byCount(counts)
	for _, text := range texts[:min(len(texts), shownTexts)] {
		begin := Count(counts[text]) + ` × "`
		room := p.width - columns(head) - columns(begin) - 1
		entry(begin + clip(clean(text), room) + `"`)
	}
	if len(texts) > shownTexts || s.Others > 0 {
		entry("and other answers")
	}
	if failed := r.TotalFailed(); s.Sampled() < failed {
		entry(fmt.Sprintf("%s answers of %s failures were looked at", Count(s.Sampled()), Count(failed)))
	}
}
