package main

import (
	"errors"
	"fmt"
	"sync"
	"syscall"

	"tcpbench/internal/kernel/sysinfo"
	"tcpbench/internal/kernel/trace"
	"tcpbench/internal/lab"
	"tcpbench/internal/probe"
	"tcpbench/scenarios"
	"tcpbench/scenarios/experiment"
	"tcpbench/scenarios/file"
)

// The questions about this machine besides those of a lab.
const (
	canBPF      = "bpf"
	canIOUring  = "io-uring"
	canMPTCP    = "mptcp"
	canFastOpen = "fastopen"
	canIPv6     = "ipv6"
)

// questions are all that a child process of this program can be asked.
func questions() map[string]probe.Question {
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

// prober is this machine as it answers.
type prober struct {
	means   lab.Means
	answers map[lab.Question]*probe.Refusal
}

// thisMachine is asked each question once.
var thisMachine = sync.OnceValue(func() *prober {
	return &prober{means: lab.FindMeans(), answers: map[lab.Question]*probe.Refusal{}}
})

// refuses asks whether something of a lab cannot be done; nil means that it can.
func (m *prober) refuses(q lab.Question) *probe.Refusal {
	r, known := m.answers[q]
	if !known {
		r = m.means.Ask(q)
		m.answers[q] = r
	}
	return r
}

// here tells whether something with these requirements can be run on this machine, and if not,
// or only over loopback, why.
func (m *prober) here(r file.Requirements) (file.Here, *probe.Refusal) {
	var makesLab, makesLink, takesSettings *probe.Refusal
	switch {
	case !r.Lab:
		return r.Here(nil, nil, nil)
	case r.Link: // a lab with such a link is a lab
		makesLink = m.refuses(lab.CanLink)
	default:
		makesLab = m.refuses(lab.CanLab)
	}
	if len(r.Settings) > 0 && makesLab == nil && makesLink == nil && m.refuses(lab.CanSysctls) != nil {
		takesSettings = m.means.AskSettings(r.Settings) // they may have their values already
	}
	return r.Here(makesLab, makesLink, takesSettings)
}

// cannot is the error of a run for which this machine lacks something.
func cannot(what string, because error, lift string) error {
	return exit{exitCannot, fmt.Errorf("this machine cannot %s: %w\nto allow it: %s\nto see what it can run: tcpbench list", what, because, lift)}
}

// failure is an error of a run: one that the machine refused says what stands in the way.
func failure(err error) error {
	var decided exit
	var strict scenarios.StrictError
	switch r, refused := probe.Explain(err); {
	case errors.As(err, &decided):
		return err
	case errors.As(err, &strict):
		return usage("--strict: %w", err)
	case refused:
		return cannot("make the lab of this run", r, r.Lift)
	case errors.Is(err, experiment.ErrNoIPv6):
		return cannot("run with --ipv6", err, "sysctl -w net.ipv6.conf.all.disable_ipv6=0, or a kernel with IPv6")
	}
	return exit{exitFailed, err}
}

// missing asks whether what the flags of a run need is there, besides a lab.
func missing(stages []scenarios.Stage) error {
	asked := map[string]bool{}
	for i := range stages {
		p := &stages[i].Plan
		for question, flag := range map[string]string{canIPv6: "--ipv6", canMPTCP: "--mptcp", canFastOpen: "--fastopen"} {
			needed := false
			switch question {
			case canIPv6:
				needed = p.Server != nil && len(p.Server.Addrs) > 0 && p.Server.Addrs[0].Addr().Is6()
			case canMPTCP:
				needed = p.Client.Options.MPTCP
			case canFastOpen:
				needed = p.Client.Options.FastOpen && p.Server != nil
			}
			if !needed || asked[question] {
				continue
			}
			asked[question] = true
			if f := probe.Ask(question, nil); f != nil {
				b := explained(question, f)
				return cannot("run with "+flag, fmt.Errorf("%w: %s", f, b.because), b.lift)
			}
		}
	}
	return nil
}

// reason is what stands in the way of something, and what changes that.
type reason struct{ because, lift string }

const dockerSeccomp = "in Docker: --security-opt seccomp=unconfined"

// reasons are those of questions that are not about labs, by the kernel's answer.
var reasons = map[string]map[syscall.Errno]reason{
	canBPF: {
		syscall.EPERM:  {"the process has not both CAP_BPF and CAP_PERFMON in the first user namespace", "run as root, or setcap cap_bpf,cap_perfmon=ep on tcpbench; in Docker: --user 0 --cap-add BPF --cap-add PERFMON"},
		syscall.ENOENT: {"this kernel has no type information (/sys/kernel/btf/vmlinux), or /sys is not mounted", "mount -t sysfs sys /sys, or use a kernel with CONFIG_DEBUG_INFO_BTF"},
		syscall.ENOSYS: {"this kernel has no bpf()", "use a kernel with CONFIG_BPF_SYSCALL"},
	},
	canIOUring: {
		syscall.ENOSYS: {"this kernel has no io_uring, or a seccomp filter hides it", "use a kernel with CONFIG_IO_URING; " + dockerSeccomp},
		syscall.EPERM:  {"kernel.io_uring_disabled or a seccomp filter forbids it", "sysctl -w kernel.io_uring_disabled=0; " + dockerSeccomp},
	},
	canMPTCP: {
		syscall.ENOPROTOOPT:     {"net.mptcp.enabled is 0", "sysctl -w net.mptcp.enabled=1"},
		syscall.EPROTONOSUPPORT: {"this kernel has no MPTCP", "use a kernel with CONFIG_MPTCP"},
		syscall.EINVAL:          {"this kernel has no MPTCP", "use a kernel with CONFIG_MPTCP"},
	},
	canFastOpen: {
		0:                   {"net.ipv4.tcp_fastopen lacks the bit 2, of servers", "sysctl -w net.ipv4.tcp_fastopen=3"}, // sysinfo.ErrSYNData
		syscall.EOPNOTSUPP:  {"net.ipv4.tcp_fastopen lacks the bit 1, of clients", "sysctl -w net.ipv4.tcp_fastopen=3"},
		syscall.ENOPROTOOPT: {"this kernel is too old", "use Linux 4.15 or newer"},
	},
	canIPv6: {
		syscall.EAFNOSUPPORT:  {"this kernel has no IPv6 (ipv6.disable=1, or CONFIG_IPV6)", "boot without ipv6.disable=1"},
		syscall.EADDRNOTAVAIL: {"IPv6 is disabled (net.ipv6.conf.lo.disable_ipv6)", "sysctl -w net.ipv6.conf.all.disable_ipv6=0; in Docker: --sysctl net.ipv6.conf.all.disable_ipv6=0"},
	},
}

// explained says what stands in the way, if the answer to a question was no.
func explained(question string, f *probe.Failure) reason {
	if f.Hung || f.Signal != 0 {
		return reason{"the attempt was ended; a seccomp filter kills with SIGSYS", dockerSeccomp}
	}
	if r, ok := reasons[question][f.Errno]; ok {
		return r
	}
	for _, e := range []syscall.Errno{syscall.EPERM, syscall.EACCES} {
		if errors.Is(f, e) {
			return reason{"a seccomp filter or a security module forbids it", dockerSeccomp + "; or find the rule in dmesg or the audit log, and allow it"}
		}
	}
	return reason{"the kernel says no more", "look at dmesg, or use another kernel"}
}
