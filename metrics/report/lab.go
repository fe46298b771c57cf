package report

import (
	"fmt"
	"strings"

	"tcpbench/metrics"
)

// lab shows the lab's hosts, the settings that the kernel did not take, and the link.
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
		p.entry(head, label, words(text))
		for _, s := range missed {
			text := fmt.Sprintf("%s = %s: %s", clean(s.Key), clean(s.Value), clean(s.Outcome))
			if s.Now != "" {
				text += ", it is " + clean(s.Now)
			}
			if s.Why != "" {
				text += " (" + clean(s.Why) + ")"
			}
			p.hang("          ", warning, words(text), warning)
		}
	}
	for _, d := range []struct {
		name string
		link *metrics.LabLink
	}{{"to the server", l.ToServer}, {"to the client", l.ToClient}} {
		if d.link == nil {
			continue
		}
		if text := link(d.link, len(l.Timeline) > 0); text != "" {
			p.entry("", label, words(d.name+": "+text))
		}
	}
}

// link says what a direction of the link did to packets. It is empty if an experiment decided segment
// by segment, which the ladder shows.
func link(l *metrics.LabLink, changed bool) string {
	var parts []string
	if l.Impairment != "" {
		parts = append(parts, clean(l.Impairment))
	} else if changed {
		parts = append(parts, "what its timeline says")
	}
	for _, verb := range []string{"drop", "every", "loss"} {
		if v, ok := l.Verbs[verb]; ok {
			parts = append(parts, fmt.Sprintf("%s lost %s of %s packets", verb, Count(v.Done), Count(v.Asked)))
		}
	}
	if len(l.Verbs) == 0 && l.Lost > 0 { // an earlier document
		parts = append(parts, Count(l.Lost)+" packets lost by that")
	}
	if v, ok := l.Verbs["delay"]; ok {
		parts = append(parts, fmt.Sprintf("delayed %s of %s", Count(v.Done), Count(v.Asked)))
	}
	if l.LateP99 > 0 {
		parts = append(parts, "99 % at most "+Duration(l.LateP99)+" late")
	}
	if l.Overflows > 0 {
		parts = append(parts, Count(l.Overflows)+" lost because too many came at once")
	}
	if l.Refused > 0 {
		parts = append(parts, Count(l.Refused)+" refused: too long, or the device was down")
	}
	return strings.Join(parts, ", ")
}
