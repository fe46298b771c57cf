package report

import (
	"maps"
	"slices"

	"tcpbench/metrics"
)

// loopback says why there was no lab, and what decided instead.
func (p *page) loopback(l *metrics.Loopback) {
	if l == nil {
		return
	}
	p.line("")
	p.entry("where", label, words("on this host's loopback, because "+l.Why))
	p.entry("", label, words("evidence: "+l.Evidence))
	for _, end := range []struct {
		name    string
		options map[string]string
	}{{"client", l.Client}, {"server", l.Server}} {
		for _, name := range slices.Sorted(maps.Keys(end.options)) {
			p.entry("", label, wordsf("sockets of the %s: %s = %s", end.name, name, end.options[name]))
		}
	}
}
