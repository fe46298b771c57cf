package scenarios

import (
	"cmp"
	"errors"
	"strconv"
	"syscall"

	"tcpbench/internal/lab"
	"tcpbench/internal/probe"
	"tcpbench/metrics"
	"tcpbench/metrics/report"
	"tcpbench/scenarios/stage"
)

// Abilities tries what tcpbench can make use of, one after the other.
func (m *Machine) Abilities(host *metrics.Host) []metrics.Ability {
	var all []metrics.Ability
	var inLab, linked, set []string
	for _, s := range Builtins() {
		r := s.Requires()
		if r.Lab {
			inLab = append(inLab, s.Name)
		}
		if r.Link {
			linked = append(linked, s.Name)
		}
		if len(r.Settings) > 0 {
			set = append(set, s.Name)
		}
	}
	for _, a := range []struct {
		name, use string
		q         lab.Question
		scenarios []string
	}{
		{"user namespaces", "labs without root", lab.CanUsers, nil},
		{"network namespaces", "tcpbench lab, tcpbench compare", lab.CanNamespaces, inLab},
		{"packet sockets", "--to-server, --to-client", lab.CanLink, linked},
		{"sysctls of a namespace", "--profile, --set", lab.CanSysctls, set},
		{"packet capture", "--pcap", lab.CanCapture, nil},
		{"sysctls of this machine", "--on-host", lab.CanHost, nil},
	} {
		one := metrics.Ability{Name: a.name, Can: true, For: a.use, Scenarios: a.scenarios}
		if r := m.Refuses(a.q); r != nil {
			one.Can, one.Why, one.Lift = false, r.Error(), r.Lift
		}
		all = append(all, one)
	}
	for _, a := range []struct{ name, use, question string }{
		{"BPF tracepoints", "--bpf", canBPF},
		{"IPv6", "--ipv6", canIPv6},
		{"MPTCP", "--mptcp", canMPTCP},
		{"TCP Fast Open", "--fastopen", canFastOpen},
		{"io_uring", "nothing today", canIOUring},
	} {
		one := metrics.Ability{Name: a.name, Can: true, For: a.use}
		if f := probe.Ask(a.question, nil); f != nil {
			r := explained(a.question, f)
			one.Can, one.Why, one.Lift = false, f.Error()+": "+r.because, r.lift
		}
		all = append(all, one)
	}
	return append(all, descriptors(host))
}

// descriptors is how many connections a process may have open.
func descriptors(host *metrics.Host) metrics.Ability {
	one := metrics.Ability{Name: "descriptors", Can: true, For: "--connections: as many in each process"}
	limit := host.Limits["nofile_hard"]
	n, err := strconv.ParseInt(limit, 10, 64)
	if err != nil {
		one.Amount = cmp.Or(limit, "not known")
		return one
	}
	one.Amount = report.Count(n)
	const few = 4096
	if n < few {
		one.Can, one.Why, one.Lift = false, "the hard limit of descriptors is "+report.Count(n), "ulimit -Hn 1048576 as root; in Docker: --ulimit nofile=1048576"
		one.For = "more than " + report.Count(int64(stage.MostConnections())) + " connections in a process"
	}
	return one
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
