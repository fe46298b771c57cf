package lab

import (
	"errors"
	"io"
	"os"

	"tcpbench/internal/probe"
)

// The steps of a probe that New does not have.
const (
	StepLab     Step = "make a lab"
	StepSysctls Step = "write a sysctl of a network namespace"
	StepCapture Step = "capture packets"
)

// Question is something that a lab may need of this machine.
type Question string

// The questions. Each is answered by doing it in a child process, and what it makes is gone
// with the child.
const (
	CanUsers      Question = "lab-users"      // a user namespace, with privileges in it
	CanNamespaces Question = "lab-namespaces" // a network namespace
	CanLink       Question = "lab-link"       // a lab with the link that experiments use
	CanSysctls    Question = "lab-sysctls"    // settings of a namespace can be written
	CanCapture    Question = "lab-capture"    // packets can be captured
)

// Questions are the answers, for probe.Main.
func Questions() map[string]probe.Question {
	namespace := func(step func(string)) error {
		step(string(StepNamespace))
		return tryNamespace(func(*Host) error { return nil })
	}
	return map[string]probe.Question{
		string(CanUsers):      namespace, // some kernels make users of one's own, and give them no privileges
		string(CanNamespaces): namespace,
		string(CanLink): func(step func(string)) error {
			if err := namespace(step); err != nil {
				return err
			}
			step(string(StepLab))
			return tryLab(Link{Gated: true}, func(*Lab) error { return nil })
		},
		string(CanSysctls): func(step func(string)) error {
			step(string(StepNamespace))
			return tryNamespace(func(h *Host) error {
				step(string(StepSysctls))
				return h.Do(writeSysctl)
			})
		},
		string(CanCapture): func(step func(string)) error {
			step(string(StepLab))
			return tryLab(Link{}, func(l *Lab) error {
				step(string(StepCapture))
				end, err := l.Record(NewCapture(io.Discard))
				if err != nil {
					return err
				}
				return end()
			})
		},
	}
}

// tryNamespace calls f for a host that has nothing but a network namespace.
func tryNamespace(f func(*Host) error) error {
	n, err := newNamespace()
	if err != nil {
		return err
	}
	defer n.Close()
	return f(&Host{Name: "probe", namespace: n})
}

// tryLab calls f for a lab. A step that was refused keeps its name.
func tryLab(link Link, f func(*Lab) error) error {
	l, err := New(link)
	if err == nil {
		err = f(l)
		if closed := l.Close(); err == nil {
			err = closed
		}
	}
	return asFailure(err)
}

// writeSysctl writes a setting of the thread's namespace as it is.
func writeSysctl() error {
	const name = "/proc/sys/net/ipv4/tcp_fin_timeout"
	text, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return os.WriteFile(name, text, 0)
}

// Means is how this process can make labs.
type Means struct {
	// Users tells that it takes a user namespace, which Own makes.
	Users bool
}

// FindMeans tells how this process would make labs, if the machine allows any.
func FindMeans() Means { return Means{Users: !able()} }

// Ask answers a question by doing it in a child process; nil means that it can be done.
func (m Means) Ask(q Question) *Refusal {
	users := m.Users || q == CanUsers
	var f *probe.Failure
	if users {
		f = probe.Ask(string(q), ownUsers())
	} else {
		f = probe.Ask(string(q), nil)
	}
	if f == nil {
		return nil
	}
	a := attempt{step: Step(f.Step), errno: f.Errno, inUsers: users || Owned(), hung: f.Hung, killed: f.Signal != 0}
	switch {
	case f.Step == "" && users:
		a.step = StepUsers
	case f.Step == "":
		a.step = "start a process"
	}
	said := f.Text
	if f.Errno != 0 {
		said = inWords(f.Errno)
	}
	return explained(&a, said, f)
}

// asFailure carries the step of a refusal to the process that asked.
func asFailure(err error) error {
	var step *StepError
	if !errors.As(err, &step) {
		return err
	}
	f := &probe.Failure{Step: string(step.Step), Text: step.Err.Error()}
	_ = errors.As(step.Err, &f.Errno) // 0 if the kernel did not say
	return f
}
