package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"tcpbench/internal/machine"
	"tcpbench/internal/namespace"
	"tcpbench/internal/pcap"
	"tcpbench/internal/probe"
)

// Question names something that a lab may need.
type Question string

// The questions. A child process answers each by doing it.
const (
	CanUsers      Question = "lab-users"      // a user namespace, with privileges in it
	CanNamespaces Question = "lab-namespaces" // a network namespace
	CanLab        Question = "lab-plain"      // a lab with a perfect link
	CanLink       Question = "lab-link"       // a lab whose link tcpbench carries itself
	CanSysctls    Question = "lab-sysctls"    // settings of a namespace can be written
	CanCapture    Question = "lab-capture"    // packets can be captured
	CanHost       Question = "host-sysctls"   // settings of the machine can be written
)

// Questions answers them, for probe.Main.
func Questions() map[string]probe.Question {
	// Some kernels make a user namespace but give it no privileges, so this makes a network
	// namespace in it too.
	namespace := func(_ string, step func(string)) error {
		step(probe.StepNamespace)
		return tryNamespace(func(*namespace.Network) error { return nil })
	}
	return map[string]probe.Question{
		string(CanUsers):      namespace,
		string(CanNamespaces): namespace,
		string(CanLab):        func(_ string, step func(string)) error { return tryLab(step, Link{}, nothing) },
		string(CanLink):       func(_ string, step func(string)) error { return tryLab(step, Link{Gated: true}, nothing) },
		string(CanSysctls):    trySettings,
		string(CanCapture): func(_ string, step func(string)) error {
			return tryLab(step, Link{}, func(l *Lab) error {
				step(probe.StepCapture)
				end, err := l.Record(pcap.NewCapture(io.Discard))
				if err != nil {
					return err
				}
				return end()
			})
		},
		string(CanHost): func(_ string, step func(string)) error {
			step(probe.StepHost)
			f, err := os.OpenFile(machine.File("fs.file-max"), os.O_WRONLY, 0) // every kernel has it
			if err != nil {
				return err
			}
			return f.Close()
		},
	}
}

func nothing(*Lab) error { return nil }

// tryNamespace calls f for a new network namespace.
func tryNamespace(f func(*namespace.Network) error) error {
	n, err := namespace.New("probe", nil)
	if err != nil {
		return err
	}
	defer n.Close()
	return f(n)
}

// tryLab calls f for a lab.
func tryLab(step func(string), link Link, f func(*Lab) error) error {
	step(probe.StepNamespace)
	if err := tryNamespace(func(*namespace.Network) error { return nil }); err != nil {
		return err
	}
	step(probe.StepLab)
	l, err := New(link)
	if err != nil {
		return err
	}
	return errors.Join(f(l), l.Close())
}

// trySettings writes settings of a namespace, lines of KEY=VALUE. A setting that can only be read is
// an error, unless it has that value already. Without any, it writes a setting with its own value.
func trySettings(about string, step func(string)) error {
	step(probe.StepNamespace)
	return tryNamespace(func(n *namespace.Network) error {
		step(probe.StepSysctls)
		p := &machine.Profile{}
		for text := range strings.Lines(about) {
			s, err := machine.ParseSetting(strings.TrimSpace(text))
			if err != nil {
				return err
			}
			p.Set(s)
		}
		if len(p.Settings) == 0 {
			return rewrite(n)
		}
		reports, err := machine.Apply(n, p)
		for _, r := range reports {
			if r.Outcome == machine.ReadOnly {
				return &probe.Failure{Step: probe.StepSysctls, Text: fmt.Sprintf("%s = %s: it is %s, and can only be read", r.Key, r.Value, r.Now)}
			}
		}
		return err
	})
}

// rewrite writes a setting of a namespace with its own value.
func rewrite(n *namespace.Network) error {
	const key = "net.ipv4.tcp_fin_timeout"
	var text []byte
	err := n.Do(func() (err error) {
		text, err = os.ReadFile(machine.File(key))
		return err
	})
	if err != nil {
		return err
	}
	return machine.Write(n, key, strings.TrimSpace(string(text)))
}

// Means is how this process can make labs.
type Means struct {
	Users bool // in a user namespace of its own, which probe.Own makes
}

// FindMeans returns how this process would make labs.
func FindMeans() Means { return Means{Users: !probe.Able()} }

// Ask asks a question in a child process; nil means that it can be done.
func (m Means) Ask(q Question) *probe.Refusal { return m.ask(q, "") }

// AskSettings tells whether a namespace can be given these settings.
func (m Means) AskSettings(settings []machine.Setting) *probe.Refusal {
	var about strings.Builder
	for _, s := range settings {
		about.WriteString(s.Key + " = " + s.Value + "\n")
	}
	return m.ask(CanSysctls, " "+about.String())
}

func (m Means) ask(q Question, about string) *probe.Refusal {
	users := q != CanHost && (m.Users || q == CanUsers)
	var attr *syscall.SysProcAttr
	if users {
		attr = namespace.Users()
	}
	f := probe.Ask(string(q)+about, attr)
	if f == nil {
		return nil
	}
	switch {
	case f.Step == "" && users:
		f.Step = probe.StepUsers
	case f.Step == "":
		f.Step = "start a process"
	}
	return f.Why(users || probe.Owned())
}
