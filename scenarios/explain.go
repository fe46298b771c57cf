package scenarios

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"tcpbench/internal/lab"
	"tcpbench/metrics/report"
	"tcpbench/scenarios/file"
	"tcpbench/scenarios/workload"
)

// Explain says what a run of the scenario would do, step by step, and what decides.
func Explain(ctx context.Context, s *Scenario, plans []PhasePlan, overrides []workload.Setting) (string, error) {
	x := &explanation{}
	x.line("%s: %s", s.Name, s.Summary)
	load := lacking(s.Load(), Gone(plans))
	for _, o := range overrides {
		load = slices.DeleteFunc(load, func(words string) bool { return strings.HasPrefix(words, "--"+o.Name+" ") })
		load = append(load, "--"+o.Name+" "+o.Value)
	}
	p := s.Phenomenon
	if p == nil {
		x.load(load, plans)
		x.line("\nIt claims nothing: what is expected of a run is for --expect to say.")
		return x.String(), nil
	}
	if !p.Benchmark() {
		x.item("\nclaim\n", "  ", p.Claim)
	}
	place := "in a lab of its own"
	switch {
	case p.Host:
		place = "on this host itself"
	case p.OnLoopback():
		place = "on this host's loopback"
	}
	x.line("\nwhat is done, in about %v, %s", p.Takes, place)
	x.steps(p)
	x.setup("  ", &p.Setup)
	if p.OnLoopback() {
		x.options(p.Loopback)
	}
	x.load(load, plans)
	if p.Benchmark() {
		x.line("\nIt is a benchmark: it claims nothing, so there is no verdict.")
	} else {
		x.line("\nwhat decides")
		x.verdict(p)
	}
	x.item("\nin production\n", "  ", p.Production)
	x.scale(p)
	if p.Loopback == nil || p.OnLoopback() {
		return x.String(), nil
	}
	there := p.Loopback.Scenario()
	plans, err := there.Plans(ctx, overrides)
	if err != nil {
		return "", err
	}
	x.loopback(p, there, plans)
	return x.String(), nil
}

// Gone is what the scenario sets that has given way to the command line, in any phase.
func Gone(plans []PhasePlan) (all []string) {
	for _, s := range plans {
		all = append(all, lacking(s.Gone, all)...)
	}
	return all
}

func lacking(words, some []string) []string {
	return slices.DeleteFunc(slices.Clone(words), func(w string) bool { return slices.Contains(some, w) })
}

// explanation is a text under way.
type explanation struct{ strings.Builder }

func (x *explanation) line(format string, args ...any) { fmt.Fprintf(x, format+"\n", args...) }

// item adds a text in lines of a terminal's width; the first begins with a head.
func (x *explanation) item(before, head, text string) {
	x.line("%s%s", before, report.Indent(head, text))
}

func (x *explanation) steps(p *file.Phenomenon) {
	for i, step := range p.Steps {
		x.item("", fmt.Sprintf("  %d. ", i+1), step)
	}
}

// scale says which parameters are not as in production.
func (x *explanation) scale(p *file.Phenomenon) {
	if p.OnLoopback() {
		return // options has told what stands in for a lab
	}
	if len(p.Scaled) == 0 {
		x.line("\nNothing is scaled down: the parameters are real.")
		return
	}
	real := "there is no form with real parameters"
	if d := p.RealTime(); d > 0 {
		real = fmt.Sprintf("with --realistic it takes about %v", d)
	}
	x.line("\nscaled, to save time; %s", real)
	for _, what := range p.Scaled {
		x.item("", "  - ", what)
	}
}

// loopback says what is done if no lab can be made, as far as that differs.
func (x *explanation) loopback(p *file.Phenomenon, there *Scenario, plans []PhasePlan) {
	own := there.Phenomenon
	x.line("\nif no lab can be made, or with --where loopback: in about %v, on loopback", own.Takes)
	if !slices.Equal(own.Steps, p.Steps) {
		x.steps(own)
	}
	x.options(p.Loopback)
	x.load(there.Load(), plans)
	if slices.Equal(own.Verdict(), p.Verdict()) && slices.Equal(own.Conditions(), p.Conditions()) {
		x.line("\nThe same decides as in a lab.")
		return
	}
	x.line("\nwhat decides there")
	x.verdict(own)
}

// verdict says which evidence decides, and when it does not.
func (x *explanation) verdict(p *file.Phenomenon) {
	for _, e := range p.Verdict() {
		x.item("", "  - ", e)
	}
	for _, c := range p.Conditions() {
		x.item("", "  undecided, "+c[0]+", unless ", c[1])
	}
}

// options says what stands in for a lab.
func (x *explanation) options(l *file.Loopback) {
	x.item("", "  evidence: ", l.Evidence)
	r := l.Report("")
	for _, end := range []struct {
		name    string
		options map[string]string
	}{{"client", r.Client}, {"server", r.Server}} {
		for _, name := range slices.Sorted(maps.Keys(end.options)) {
			x.line("  sockets of the %s: %s = %s", end.name, name, end.options[name])
		}
	}
}

// load lists the runs, in the words of their flags.
func (x *explanation) load(load []string, plans []PhasePlan) {
	if len(load) > 0 {
		x.item("\nload\n", "  ", strings.Join(load, " "))
	}
	for _, s := range plans {
		if s.Name == "" {
			continue
		}
		x.item("\n", "  "+s.Name+": ", s.Why)
		if s.Costs != "" {
			x.item("", "    costs: ", s.Costs)
		}
		if len(s.Load()) > 0 {
			x.item("", "    ", strings.Join(lacking(s.Load(), s.Gone), " "))
		}
		if s.Setup != nil {
			x.setup("    ", s.Setup)
		}
		if s.Plan.Freeze != nil {
			x.item("", "    ", s.Plan.Freeze.String())
		}
	}
}

// setup describes a lab.
func (x *explanation) setup(indent string, s *file.Setup) {
	for _, set := range s.Client {
		who := "client"
		if slices.Contains(s.Server, set) {
			who = "both hosts"
		}
		x.line("%s%s: %s = %s", indent, who, set.Key, set.Value)
	}
	for _, set := range s.Server {
		if !slices.Contains(s.Client, set) {
			x.line("%sserver: %s = %s", indent, set.Key, set.Value)
		}
	}
	say := func(to string, how *lab.Impairment, when string) {
		if how != nil && how.String() != "" {
			x.line("%spackets to the %s%s: %s", indent, to, when, how)
		}
	}
	say("server", &s.Link.ToServer, "")
	say("client", &s.Link.ToClient, "")
	for _, m := range s.Timeline {
		say("server", m.ToServer, fmt.Sprintf(", after %v", m.At))
		say("client", m.ToClient, fmt.Sprintf(", after %v", m.At))
	}
}
