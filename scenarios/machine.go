package scenarios

import (
	"fmt"
	"slices"
	"sync"

	"tcpbench/internal/kernel/sysinfo"
	"tcpbench/internal/kernel/trace"
	"tcpbench/internal/lab"
	"tcpbench/internal/machine"
	"tcpbench/internal/probe"
	"tcpbench/scenarios/file"
	"tcpbench/scenarios/stage"
)

// The questions about this machine besides those of a lab.
const (
	canBPF      = "bpf"
	canIOUring  = "io-uring"
	canMPTCP    = "mptcp"
	canFastOpen = "fastopen"
	canIPv6     = "ipv6"
)

// Questions are all that a child process of this program can be asked.
func Questions() map[string]probe.Question {
	all := lab.Questions()
	for name, q := range map[string]struct {
		step string
		try  func() error
	}{
		canBPF: {"attach a program to the kernel's tracepoints", func() error {
			t, err := trace.Start(nil, nil)
			if err != nil {
				return err
			}
			return t.Close()
		}},
		canIOUring:  {"set up an io_uring", sysinfo.IOUring},
		canMPTCP:    {"make a socket of Multipath TCP", sysinfo.MPTCP},
		canFastOpen: {"send data in a SYN over loopback", sysinfo.FastOpen},
		canIPv6:     {"bind a socket to [::1]", sysinfo.IPv6},
	} {
		all[name] = func(_ string, step func(string)) error {
			step(q.step)
			return q.try()
		}
	}
	return all
}

// Machine is this machine as it answers questions.
type Machine struct {
	Means   lab.Means // to make labs
	answers map[lab.Question]*probe.Refusal
}

// ThisMachine is asked each question once in a process.
var ThisMachine = sync.OnceValue(func() *Machine {
	return &Machine{Means: lab.FindMeans(), answers: map[lab.Question]*probe.Refusal{}}
})

// Refuses asks whether something of a lab cannot be done; nil means that it can.
func (m *Machine) Refuses(q lab.Question) *probe.Refusal {
	r, known := m.answers[q]
	if !known {
		r = m.Means.Ask(q)
		m.answers[q] = r
	}
	return r
}

// Here tells whether something with these requirements can be run on this machine, and if not,
// or only over loopback, why.
func (m *Machine) Here(r file.Requirements) (file.Here, *probe.Refusal) {
	refuses := func(q lab.Question) func() *probe.Refusal { return func() *probe.Refusal { return m.Refuses(q) } }
	return r.Here(refuses(lab.CanLab), refuses(lab.CanLink), func(settings []machine.Setting) *probe.Refusal {
		if m.Refuses(lab.CanSysctls) == nil {
			return nil
		}
		return m.Means.AskSettings(settings) // they may have their values already
	})
}

// OnLoopback makes the scenario the one for loopback if it has such a form and this machine can make
// no lab for it. It returns why there is no lab, or an empty string.
func (m *Machine) OnLoopback(s *Scenario) (why string) {
	if s.Phenomenon == nil || s.Phenomenon.Loopback == nil {
		return ""
	}
	here, refused := m.Here(s.Requires())
	if here != file.RunsLoopback {
		return ""
	}
	s.OnLoopback()
	return "this machine cannot " + refused.Error()
}

// Missing returns the first flag of the plans for which this machine lacks something besides a lab,
// with what stands in the way and what changes that; an empty flag if there is none.
func Missing(plans []PhasePlan) (flag, lift string, why error) {
	for _, q := range []struct {
		question, flag string
		asked          func(*stage.Plan) bool
	}{
		{canIPv6, "--ipv6", func(p *stage.Plan) bool {
			return p.Server != nil && len(p.Server.Addrs) > 0 && p.Server.Addrs[0].Addr().Is6()
		}},
		{canMPTCP, "--mptcp", func(p *stage.Plan) bool { return p.Client.Options.MPTCP }},
		{canFastOpen, "--fastopen", func(p *stage.Plan) bool { return p.Client.Options.FastOpen && p.Server != nil }},
	} {
		if !slices.ContainsFunc(plans, func(s PhasePlan) bool { return q.asked(&s.Plan) }) {
			continue
		}
		if f := probe.Ask(q.question, nil); f != nil {
			b := explained(q.question, f)
			return q.flag, b.lift, fmt.Errorf("%w: %s", f, b.because)
		}
	}
	return "", "", nil
}
