package compare

import (
	"fmt"
	"slices"
	"strings"

	"tcpbench/metrics"
)

// Caution limits what a whole comparison says.
type Caution struct {
	Text  string `json:"text"`
	Alarm bool   `json:"alarm,omitempty"` // the comparison is invalid
}

// bounding are the flags of results that can make a comparison mislead. Others, such as a host that
// both sides share, hold for all runs in a lab.
var bounding = []string{
	"invalid", "interrupted", "server-lost", "nothing-succeeded", Leftovers, "noisy-host", "other-traffic",
	"client-limited", "server-limited", "late-link", "lagging", "rate-missed", "ports-exhausted",
}

// Leftovers flags a result during which the kernel still removed the lab of the run before.
const Leftovers = "leftovers"

// strangersShare is the share of a run's attempts from which sockets in TIME_WAIT of earlier runs are
// worth a caution.
const strangersShare = 0.01

// cautions lists what a reader must know before the numbers.
func cautions(sides []Side) (all []Caution) {
	for _, name := range bounding {
		where, why, total, flagged := []string{}, "", 0, 0
		for i, s := range sides {
			n := 0
			for _, r := range s.Results {
				if i := slices.IndexFunc(r.Flags, func(f metrics.Flag) bool { return f.Name == name }); i >= 0 {
					n, why = n+1, r.Flags[i].Why
				}
			}
			if n > 0 {
				where = append(where, fmt.Sprintf("%d of %d of %s", n, len(s.Results), Letter(i)))
			}
			flagged, total = flagged+n, total+len(s.Results)
		}
		switch {
		case flagged == 0:
		case name == "invalid" && flagged == total:
			all = append(all, Caution{"All results are invalid, so nothing below can be believed. The last one: " + why, true})
		default:
			all = append(all, Caution{fmt.Sprintf("%s: results %s. The last one: %s", name, strings.Join(where, ", "), why), name == "invalid"})
		}
	}
	for i, s := range sides {
		n, most := 0, int64(0)
		for _, r := range s.Results {
			if found := strangers(r); float64(found) > strangersShare*float64(r.Attempted) {
				n, most = n+1, max(most, found)
			}
		}
		if n > 0 {
			all = append(all, Caution{Text: fmt.Sprintf("%d of %d results of %s began with sockets of earlier runs in TIME_WAIT, up to %d: they take ports and memory. "+
				"Run in labs (tcpbench compare), or wait a minute before each run.", n, len(s.Results), Letter(i), most)})
		}
	}
	for i := 1; i < len(sides); i++ {
		if pair := []Side{sides[0], sides[i]}; inLabs(pair) && len(settingsThatDiffer(pair)) == 0 {
			all = append(all, Caution{Text: fmt.Sprintf("%s had the same kernel settings as %s: this compares a thing with itself.", Letter(i), Letter(0))})
		}
	}
	return all
}

// strangers are the sockets in TIME_WAIT at the start of a run.
func strangers(r *metrics.Result) (n int64) {
	for _, v := range r.Kernel {
		if tw := v.Timeline.Sockets["tw"]; len(tw) > 1 {
			n += tw[0]
		}
	}
	return n
}

// Letter names a side.
func Letter(i int) string { return string(rune('A' + i%26)) }

// inLabs tells whether all results are of labs, where profiles should differ.
func inLabs(sides []Side) bool {
	for _, s := range sides {
		if slices.ContainsFunc(s.Results, func(r *metrics.Result) bool { return r.Lab == nil }) {
			return false
		}
	}
	return true
}
