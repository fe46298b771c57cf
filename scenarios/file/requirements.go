package file

import (
	"slices"

	"tcpbench/internal/lab"
	"tcpbench/internal/machine"
	"tcpbench/internal/probe"
)

// Requirements are what a scenario needs of the machine, besides sockets.
type Requirements struct {
	// Lab tells that it is shown in network namespaces.
	Lab bool
	// Link tells that tcpbench itself carries the packets of the lab's link, by packet sockets.
	Link bool
	// Settings are those that the lab's namespaces are given.
	Settings []machine.Setting
	// Loopback tells that it can be shown over loopback if no lab can be made.
	Loopback bool
}

// Requires tells what the scenario needs.
func (s *Scenario) Requires() Requirements {
	p := s.Phenomenon
	if p == nil || p.Host || p.OnLoopback() {
		return Requirements{}
	}
	r := Requirements{Lab: true, Loopback: p.Loopback != nil}
	r.add(&p.Setup)
	for i := range s.Phases {
		if own := s.Phases[i].Setup; own != nil {
			r.add(own)
		}
	}
	if p.Experiment != nil {
		r.want(p.Experiment.Settings)
	}
	return r
}

func (r *Requirements) add(s *Setup) {
	r.want(s.Client)
	r.want(s.Server)
	r.Link = r.Link || Carried(s.Link) || len(s.Timeline) > 0
}

func (r *Requirements) want(settings []machine.Setting) {
	for _, s := range settings {
		if !slices.Contains(r.Settings, s) {
			r.Settings = append(r.Settings, s)
		}
	}
}

// Carried tells whether tcpbench may have to carry the packets of a link itself.
func Carried(l lab.Link) bool {
	return l.Gated || l.ToServer.String() != "" || l.ToClient.String() != ""
}

// Here is whether a scenario can be run on this machine.
type Here string

// The answers.
const (
	Runs         Here = "yes"
	RunsLoopback Here = "loopback" // over loopback, without a lab
	CannotRun    Here = "no"
)

// Here tells whether the scenario can be run on this machine, and if not, or only over loopback, why.
// The functions ask the machine; nil is a machine that does not refuse.
func (r Requirements) Here(makesLab, makesLink func() *probe.Refusal, takes func([]machine.Setting) *probe.Refusal) (Here, *probe.Refusal) {
	var why *probe.Refusal
	switch {
	case !r.Lab:
	case r.Link: // a lab with such a link is a lab
		why = makesLink()
	default:
		why = makesLab()
	}
	if r.Lab && why == nil && len(r.Settings) > 0 {
		why = takes(r.Settings)
	}
	switch {
	case why == nil:
		return Runs, nil
	case r.Loopback:
		return RunsLoopback, why
	}
	return CannotRun, why
}
