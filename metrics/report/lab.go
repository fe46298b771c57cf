package report

import (
	"cmp"
	"fmt"
	"strings"

	"tcpbench/metrics"
)

// lab tells where the run took place, and which settings are not as they were to be.
func (p *page) lab(l *metrics.Lab) {
	if l == nil {
		return
	}
	p.line("")
	for i, h := range []struct {
		name string
		host *metrics.LabHost
	}{{"client", &l.Client}, {"server", &l.Server}} {
		head := ""
		if i == 0 {
			head = "lab"
		}
		missed := h.host.Missed()
		text := fmt.Sprintf("%s: profile %s, %d of %d settings applied", h.name, clean(h.host.Profile), len(h.host.Settings)-len(missed), len(h.host.Settings))
		p.entry(head, label, strings.Fields(text))
		for _, s := range missed {
			text := fmt.Sprintf("%s = %s: %s", clean(s.Key), clean(s.Value), clean(s.Outcome))
			if s.Now != "" {
				text += ", it is " + clean(s.Now)
			}
			if s.Why != "" {
				text += " (" + clean(s.Why) + ")"
			}
			p.hang("          ", warning, strings.Fields(text), warning)
		}
	}
	for _, d := range []struct {
		name string
		link *metrics.LabLink
	}{{"to the server", l.ToServer}, {"to the client", l.ToClient}} {
		if d.link == nil {
			continue
		}
		text := fmt.Sprintf("%s: %s", d.name, cmp.Or(clean(d.link.Impairment), "what its timeline says"))
		if d.link.Lost > 0 {
			text += ", " + Count(d.link.Lost) + " packets lost by that"
		}
		if d.link.Netem {
			text += ", delayed by the kernel's netem"
		}
		if d.link.LateP99 > 0 {
			text += ", 99 % at most " + Duration(d.link.LateP99) + " late"
		}
		p.entry("", label, strings.Fields(text))
	}
}
