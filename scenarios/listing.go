package scenarios

import (
	"fmt"
	"io"
	"strings"
	"time"

	"tcpbench/internal/probe"
	"tcpbench/metrics/report"
	"tcpbench/scenarios/file"
)

// Listings are the formats of a list of the catalogue.
var Listings = report.Formats[[]Listing]{{Name: "text", Write: writeList}, {Name: "json", Write: report.JSON[[]Listing]}}

// Listing is a scenario of the catalogue.
type Listing struct {
	Name    string  `json:"name"`
	Summary string  `json:"summary"`
	Claim   string  `json:"claim,omitempty"`
	TakesS  float64 `json:"takes_s,omitempty"`
	Needs   string  `json:"needs,omitempty"`
	// Here is yes, loopback or no; if it is not yes, WhyNot says why, and Lift what changes it.
	Here   file.Here `json:"here"`
	WhyNot string    `json:"why_not,omitempty"`
	Lift   string    `json:"lift,omitempty"`
	// Steps, Verdict, Conditions and Production are what --explain tells.
	Steps      []string          `json:"steps,omitempty"`
	Verdict    []string          `json:"verdict,omitempty"`
	Conditions map[string]string `json:"conditions,omitempty"` // by what is wrong with a run otherwise
	Production string            `json:"production,omitempty"`
	// Scaled says what is not as in production, to save time; RealisticS is how long it takes with
	// --realistic. A scenario in which nothing is scaled has neither.
	Scaled     []string `json:"scaled,omitempty"`
	RealisticS float64  `json:"realistic_s,omitempty"`

	why *probe.Refusal
}

// List asks the machine which scenarios can be run.
func (m *Machine) List() []Listing {
	all := []Listing{}
	for _, s := range Builtins() {
		l := Listing{Name: s.Name, Summary: s.Summary}
		if l.Here, l.why = m.Here(s.Requires()); l.why != nil {
			l.WhyNot, l.Lift = l.why.Error(), l.why.Lift
		}
		if p := s.Phenomenon; p != nil {
			l.Claim, l.TakesS, l.Needs = p.Claim, p.Takes.Seconds(), p.Needs()
			if p.Loopback != nil {
				l.Needs += " or loopback"
			}
			l.Steps, l.Verdict, l.Production = p.Steps, p.Verdict(), p.Production
			if l.Scaled = p.Scaled; len(l.Scaled) > 0 {
				l.RealisticS = p.RealTime().Seconds()
			}
			l.Conditions = map[string]string{}
			for _, c := range p.Conditions() {
				l.Conditions[c[0]] = c[1]
			}
		}
		all = append(all, l)
	}
	return all
}

func writeList(w io.Writer, all []Listing, _ report.Style) error {
	rows := [][]string{{"scenario", "what it shows", "takes", "--realistic", "needs", "here"}}
	for _, l := range all {
		takes := time.Duration(l.TakesS * float64(time.Second))
		realistic := "the same"
		if len(l.Scaled) > 0 {
			if realistic = "no"; l.RealisticS > 0 {
				realistic = time.Duration(l.RealisticS * float64(time.Second)).String()
			}
		}
		rows = append(rows, []string{l.Name, l.Summary, takes.String(), realistic, l.Needs, string(l.Here)})
	}
	if err := report.Columns(w, 3, rows); err != nil {
		return err
	}
	told := map[string]bool{}
	for _, l := range all {
		if l.why == nil || told[l.why.Summary()] {
			continue
		}
		told[l.why.Summary()] = true
		fmt.Fprintf(w, "\nThis machine cannot %s\nTo allow it: %s\n", l.why.Summary(), l.Lift)
	}
	_, err := fmt.Fprintf(w, "\nNot yet, for they need crafted packets: %s.\n", strings.Join(Planned, ", "))
	return err
}
