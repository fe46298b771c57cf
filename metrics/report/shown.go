package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"tcpbench/metrics"
)

// standings has the words for each, in the order of Sum.
var standings = []struct {
	standing   metrics.Standing
	line, word string
	ink        ink
}{
	{metrics.Reproduced, "REPRODUCED", "reproduced", success},
	{metrics.NotReproduced, "NOT REPRODUCED", "not reproduced", failure},
	{metrics.Undecided, "UNDECIDED", "undecided", warning},
	{metrics.Measured, "MEASURED", "measured", plain},
	{metrics.CannotRun, "CANNOT RUN", "cannot run here", warning},
	{metrics.NotBegun, "NOT BEGUN", "not begun", warning},
}

// Line writes what a scenario came to, and the evidence if it was not reproduced.
func Line(w io.Writer, s *metrics.ShownScenario, style Style) error {
	p := style.page()
	for _, k := range standings {
		if k.standing != s.Standing {
			continue
		}
		took, where := "", ""
		if s.Result != nil {
			took = duration(s.TookS * 1e9)
			if s.Result.Loopback != nil {
				where = "   on loopback"
			}
		}
		p.line(p.paint(k.ink, pad(k.line, 16)) + pad(clean(s.Name), 26) + p.paint(label, padLeft(took, 8)) + where)
	}
	if s.Standing == metrics.NotReproduced {
		p.judged(s.Result.Verdict.Evidence, "NO DATA")
		p.line("")
	}
	return p.flush(w)
}

// Sum writes how many scenarios came to what, and why some did not run or are undecided.
func Sum(w io.Writer, s *metrics.Shown, style Style) error {
	p := style.page()
	p.line("")
	var counts []string
	for _, k := range standings {
		if n := s.Counts[k.standing]; n > 0 || k.standing != metrics.NotBegun && k.standing != metrics.Measured {
			counts = append(counts, fmt.Sprintf("%d %s", n, k.word))
		}
	}
	p.entry(fmt.Sprint("of ", len(s.Scenarios)), label, listed(counts, ","))
	for _, k := range standings {
		var whys []string
		for i := range s.Scenarios {
			if one := &s.Scenarios[i]; one.Standing == k.standing && one.Why != "" && !slices.Contains(whys, one.Why) {
				whys = append(whys, one.Why)
			}
		}
		for _, why := range whys {
			p.because(k.word, k.ink, why, s.Scenarios)
		}
	}
	return p.flush(w)
}

// because writes a reason, the scenarios that have it, and what changes it.
func (p *page) because(word string, i ink, why string, all []metrics.ShownScenario) {
	var names []string
	lift := ""
	for _, s := range all {
		if s.Why == why {
			names, lift = append(names, clean(s.Name)), s.Lift
		}
	}
	p.line("")
	p.hang(word+": ", i, listed(names, ","), plain)
	p.entry("  why", label, words(why))
	if lift != "" {
		p.entry("  do", label, words(lift))
	}
}

// Abilities writes what a machine can do and what it cannot.
func Abilities(w io.Writer, all []metrics.Ability, style Style) error {
	p := style.page()
	told := map[string]string{} // the first ability with each reason
	for _, a := range all {
		use := a.For
		if n := len(a.Scenarios); n > 0 {
			use = strings.TrimPrefix(fmt.Sprintf("%s, %d scenarios", use, n), ", ")
		}
		name := clean(a.Name)
		if a.Amount != "" {
			name += ", " + clean(a.Amount)
		}
		if a.Can {
			p.hang(pad("yes", 8)+pad(name, 30)+"  ", success, words("for "+use), plain)
			continue
		}
		p.hang(pad("no", 8)+pad(name, 30)+"  ", failure, words("missing for "+use), plain)
		if first, known := told[a.Why]; known {
			p.entry("  why", label, words("as for "+first))
			continue
		}
		told[a.Why] = a.Name
		p.entry("  why", label, words(a.Why))
		p.entry("  do", label, words(a.Lift))
	}
	return p.flush(w)
}
