package report

import (
	"fmt"
	"time"

	"tcpbench/metrics"
)

// shownBursts is how many bursts the text lists; the document has them all.
const shownBursts = 8

// special shows what only some workloads have: a held population, heartbeats, bursts.
func (p *page) special(r *metrics.Result) {
	if q := r.Population; q != nil {
		items := []string{fmt.Sprintf("%s of %s established at the end", Count(q.Held), Count(q.Wanted))}
		if q.RampS > 0 {
			items = append(items, "all tried after "+duration(q.RampS*1e9), "kept for "+duration(q.HoldS*1e9))
		} else {
			items = append(items, "the run ended before all were tried")
		}
		if q.Clients+q.Servers > 2 {
			items = append(items, fmt.Sprintf("%d client and %d server processes", q.Clients, q.Servers))
		}
		p.entry("held", label, listed(items, ","))
	}
	if b := r.Beats; b != nil {
		p.entry("beats", label, listed([]string{
			Count(b.Sent) + " sent", Count(b.Answered) + " answered", Count(b.Missed) + " missed"}, ","))
	}
	for i, b := range r.Bursts {
		if i == shownBursts {
			p.entry("", label, listed([]string{fmt.Sprintf("and %d more", len(r.Bursts)-i)}, ","))
			break
		}
		p.entry("burst", label, listed([]string{
			"at " + (time.Duration(b.DueS * 1e9)).Round(time.Millisecond).String(),
			Count(b.Issued) + " connects issued over " + Duration(b.SpreadNS),
			"the first " + Duration(b.LateNS) + " late"}, ","))
	}
}
