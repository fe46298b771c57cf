package file

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"tcpbench/internal/lab"
	"tcpbench/internal/machine"
	"tcpbench/internal/probe"
	"tcpbench/metrics"
	"tcpbench/scenarios/expect"
	"tcpbench/scenarios/experiment"
	"tcpbench/scenarios/stage"
)

// Phenomenon is what a scenario claims of TCP: where it can be seen, which evidence decides, and what
// it means for those who run servers. A benchmark of this host claims nothing.
type Phenomenon struct {
	Claim      string // empty for a benchmark
	Production string
	// Steps say what is done, one after the other.
	Steps []string
	// Takes is about how long the run is.
	Takes time.Duration
	// Scaled says which parameters are not as in production, to save time, and by how much.
	Scaled []string
	// Host tells that it loads this host itself and serves as a template: its claim is judged only
	// if no flag makes another load of it.
	Host bool
	// Setup is the lab in which it is shown.
	Setup
	// Experiment is what is done instead of a load; nil for a load.
	Experiment *experiment.Experiment
	// Loopback is how it is shown if no lab can be made; nil if it needs a lab.
	Loopback *Loopback

	verdict    []*expect.Expression
	conditions []condition
	realistic  *Scenario // with real parameters; nil if there is no such form
	onLoopback bool      // this is the form for loopback
}

// ErrScaled means that a scenario can only be shown with parameters that are scaled down.
var ErrScaled = errors.New("it has no form with real parameters")

// Realistic gives the scenario real parameters instead of those that save time. It changes nothing
// if all are real.
func (s *Scenario) Realistic() error {
	switch p := s.Phenomenon; {
	case p.realistic != nil:
		*s = *p.realistic
	case len(p.Scaled) > 0:
		return ErrScaled
	}
	return nil
}

// RealTime is about how long the run takes with real parameters; zero if there is no such form.
func (p *Phenomenon) RealTime() time.Duration {
	switch {
	case p.realistic != nil:
		return p.realistic.Phenomenon.Takes
	case len(p.Scaled) > 0:
		return 0
	}
	return p.Takes
}

// OverIPv6 makes the connections that the experiment looks at of IPv6.
func (s *Scenario) OverIPv6() {
	p := *s.Phenomenon
	e := *p.Experiment
	e.IPv6, p.Experiment = true, &e
	s.Phenomenon = &p
}

// Verdict lists the expressions that decide.
func (p *Phenomenon) Verdict() (all []string) {
	for _, e := range p.verdict {
		all = append(all, e.String())
	}
	return all
}

// A condition must hold of a run before its evidence decides; otherwise says what is wrong with the
// run if it does not.
type condition struct {
	*expect.Expression
	otherwise string
}

// Conditions lists what must hold of a run before its evidence decides, by what is wrong otherwise.
func (p *Phenomenon) Conditions() (all [][2]string) {
	for _, c := range p.conditions {
		all = append(all, [2]string{c.otherwise, c.String()})
	}
	return all
}

// Benchmark tells that the scenario measures and claims nothing, so that there is no verdict.
func (p *Phenomenon) Benchmark() bool { return p.Claim == "" }

// Judge says whether the result has shown the claim.
func (p *Phenomenon) Judge(r *metrics.Result) *metrics.Verdict {
	v := &metrics.Verdict{Claim: p.Claim, Steps: p.Steps, Production: p.Production, Evidence: expect.JudgeAll(p.verdict, r)}
	for _, c := range p.conditions {
		v.Conditions = append(v.Conditions, metrics.Condition{Else: c.otherwise, Expectation: c.Judge(r)})
	}
	v.Decide(r)
	return v
}

// Needs are what a machine must have for it, besides namespaces.
func (p *Phenomenon) Needs() string {
	if p.Host {
		return "this host"
	}
	return "lab"
}

// under is a scenario's own settings with a profile on top, which may so remove the mechanism.
func under(own []machine.Setting, profile *machine.Profile) *machine.Profile {
	if len(own) == 0 {
		return profile
	}
	whole := &machine.Profile{Name: "the scenario's own"}
	if profile.Name != machine.KernelDefault {
		whole.Name += ", " + profile.Name
	}
	for _, s := range slices.Concat(own, profile.Settings) {
		whole.Set(s)
	}
	return whole
}

// Profiles are those of the lab's hosts: the scenario's own settings, and the given ones on top. A
// scenario that claims nothing (nil) has no settings of its own.
func (p *Phenomenon) Profiles(client, server *machine.Profile) (*machine.Profile, *machine.Profile) {
	if p == nil {
		return client, server
	}
	return under(p.Client, client), under(p.Server, server)
}

// Venue makes the lab, with a link and profiles on top of the scenario's own.
func (p *Phenomenon) Venue(link lab.Link, client, server *machine.Profile) (*stage.Venue, error) {
	client, server = p.Profiles(client, server)
	v, err := stage.NewVenue(p.LinkUnder(link), client, server)
	if err != nil || p == nil {
		return v, err
	}
	for _, r := range v.Unwritable {
		if slices.ContainsFunc(slices.Concat(p.Client, p.Server), func(s machine.Setting) bool { return s.Key == r.Key }) {
			err := &probe.Failure{Step: probe.StepSysctls, Text: fmt.Sprintf("%s = %s: it is %s, and can only be read", r.Key, r.Value, r.Now)}
			return nil, errors.Join(err, v.Close())
		}
	}
	v.Timeline = p.Timeline
	return v, nil
}

// LinkUnder is the scenario's link. Directions that other impairs are as in other.
func (p *Phenomenon) LinkUnder(other lab.Link) lab.Link {
	if p == nil {
		return other
	}
	link := p.Setup.on(Setup{Link: other}).Link
	link.Gated, link.Changes, link.Seed = p.Link.Gated, len(p.Timeline) > 0, other.Seed
	return link
}
