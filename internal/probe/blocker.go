package probe

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// A blocker is what keeps this machine from making a lab, and what lifts it.
type blocker struct {
	is, lift string
}

// attempt is what was refused.
type attempt struct {
	step  string
	errno unix.Errno
	// inUsers tells that it was tried as root of a user namespace of its own.
	inUsers bool
	// hung and killed tell how the process ended that tried it, if the kernel did not answer.
	hung, killed bool
}

// Ways out that several blockers share.
const (
	asRoot       = "run as root"
	dockerUsers  = "in Docker or Podman: --security-opt seccomp=unconfined; in Kubernetes: securityContext.seccompProfile.type: Unconfined; in systemd: RestrictNamespaces=no"
	dockerPaths  = "in Docker: --security-opt systempaths=unconfined --security-opt apparmor=unconfined"
	moreMemory   = "raise the memory limit of the container or control group"
	appArmorLift = "sysctl -w " + appArmor + "=0, or load an AppArmor profile with the rule userns for tcpbench (docs/lab.md), or run as root"
)

// rule is a line of the table of blockers: if a refused attempt and the facts of the machine
// fit, it is this. The first one that fits counts.
type rule struct {
	steps  []string // nil is any
	errnos []unix.Errno
	when   func(*attempt, *facts) bool // nil is always
	why    func(*attempt, *facts) blocker
}

// always is a blocker that no fact changes.
func always(is, lift string) func(*attempt, *facts) blocker {
	return func(*attempt, *facts) blocker { return blocker{is, lift} }
}

// forbidden are the two ways in which the kernel says that somebody may not.
var forbidden = []unix.Errno{unix.EPERM, unix.EACCES}

// refusals are the answers that a seccomp filter gives in place of the kernel.
var refusals = append([]unix.Errno{unix.ENOSYS}, forbidden...)

// privileges are what a step takes.
var privileges = map[string]int{
	StepNamespace: unix.CAP_SYS_ADMIN, StepSocket: unix.CAP_NET_ADMIN, StepDevice: unix.CAP_NET_ADMIN,
	StepOffloads: unix.CAP_NET_ADMIN, StepAddress: unix.CAP_NET_ADMIN, StepRate: unix.CAP_NET_ADMIN,
	StepPacket: unix.CAP_NET_RAW, StepRing: unix.CAP_NET_RAW, StepCapture: unix.CAP_NET_RAW,
}

var rules = []rule{
	{
		when: func(a *attempt, _ *facts) bool { return a.hung },
		why:  always("the kernel does not answer", "look at dmesg; another program may hold the lock of all network namespaces (rtnl)"),
	}, {
		when: func(a *attempt, f *facts) bool { return a.killed && f.filtered },
		why:  always("a seccomp filter kills who tries it", dockerUsers),
	}, {
		steps: []string{StepSysctls}, errnos: append([]unix.Errno{0, unix.EROFS}, forbidden...), // 0 is a setting that was read
		why: always("/proc/sys is read-only, as containers have it", dockerPaths+"; elsewhere: mount -o remount,rw /proc/sys"),
	}, {
		steps: []string{StepHost}, errnos: forbidden,
		why: always("settings of the machine are for its root", "run as root, outside of user namespaces"),
	}, {
		steps: []string{StepSysctls, StepHost}, errnos: []unix.Errno{unix.ENOENT},
		why: always("/proc/sys is not there", "mount -t proc proc /proc"),
	}, {
		steps: []string{StepUsers}, errnos: []unix.Errno{unix.ENOSPC},
		when: func(_ *attempt, f *facts) bool { return f.is(maxUsers, "0") },
		why:  always(maxUsers+" is 0: nobody may make a user namespace", "sysctl -w "+maxUsers+"=15000"),
	}, {
		steps: []string{StepUsers}, errnos: []unix.Errno{unix.ENOSPC, unix.EUSERS},
		why: func(_ *attempt, f *facts) blocker {
			return blocker{"there are as many user namespaces as are allowed (" + f.said(maxUsers) + "; one around this may allow fewer), or they are nested 32 deep", "sysctl -w " + maxUsers + "=15000 on the machine itself, or run outside of the nested namespaces"}
		},
	}, {
		steps: []string{StepUsers}, errnos: []unix.Errno{unix.EINVAL},
		when: func(_ *attempt, f *facts) bool { return !f.users },
		why:  always("this kernel has no user namespaces (CONFIG_USER_NS)", asRoot),
	}, {
		steps: []string{StepUsers}, errnos: forbidden,
		when: func(_ *attempt, f *facts) bool {
			return f.is(unprivileged, "0") && f.missing(of(unix.CAP_SYS_ADMIN)) != 0
		},
		why: always(unprivileged+" is 0: only root may make a user namespace", "sysctl -w "+unprivileged+"=1, or "+asRoot),
	}, {
		steps: []string{StepUsers}, errnos: forbidden,
		when: func(_ *attempt, f *facts) bool { return f.chrooted },
		why:  always("the process is in a chroot, and the kernel makes no user namespace there (user_namespaces(7))", "run outside of the chroot, or in a container, which uses pivot_root"),
	}, {
		steps: []string{StepUsers}, errnos: refusals,
		when: func(_ *attempt, f *facts) bool { return f.filtered },
		why:  forFiltered,
	}, {
		errnos: forbidden,
		when:   func(a *attempt, f *facts) bool { return (a.inUsers || a.step == StepUsers) && f.is(appArmor, "1") },
		why:    always("AppArmor gives a user namespace no privileges: "+appArmor+" is 1", appArmorLift),
	}, {
		steps: []string{StepUsers}, errnos: forbidden,
		why: always("a security module (SELinux, AppArmor, a policy of the container) forbids user namespaces", asRoot+", or find the rule in dmesg or the audit log, and allow it"),
	}, {
		steps: []string{StepNamespace}, errnos: []unix.Errno{unix.ENOSPC},
		when: func(_ *attempt, f *facts) bool { return f.is(maxNetworks, "0") },
		why:  always(maxNetworks+" is 0: nobody may make a network namespace, not even root", "sysctl -w "+maxNetworks+"=15000"),
	}, {
		steps: []string{StepNamespace}, errnos: []unix.Errno{unix.ENOSPC},
		why: func(_ *attempt, f *facts) blocker {
			return blocker{"there are as many network namespaces as are allowed (" + f.said(maxNetworks) + "; a user namespace around this may allow fewer)", "sysctl -w " + maxNetworks + "=15000 on the machine itself"}
		},
	}, {
		steps: []string{StepNamespace}, errnos: []unix.Errno{unix.EINVAL},
		when: func(_ *attempt, f *facts) bool { return !f.networks },
		why:  always("this kernel has no network namespaces (CONFIG_NET_NS)", "use a kernel that has them"),
	}, {
		errnos: forbidden,
		when: func(a *attempt, f *facts) bool {
			k, ok := privileges[a.step]
			return ok && !a.inUsers && f.missing(of(k)) != 0
		},
		why: forPrivilege,
	}, {
		steps: []string{StepDevice}, errnos: []unix.Errno{unix.EOPNOTSUPP, unix.ENODEV},
		why: module("veth"),
	}, {
		steps: []string{StepPacket, StepCapture}, errnos: []unix.Errno{unix.EAFNOSUPPORT, unix.EPROTONOSUPPORT, unix.ESOCKTNOSUPPORT},
		why: module("af_packet"),
	}, {
		steps: []string{StepRate}, errnos: []unix.Errno{unix.EOPNOTSUPP, unix.ENOENT},
		why: module("sch_tbf"),
	}, {
		errnos: []unix.Errno{unix.EROFS},
		why:    always("/proc/sys is read-only, as containers have it", dockerPaths),
	}, {
		errnos: []unix.Errno{unix.EMFILE, unix.ENFILE},
		why:    always("there are no more descriptors", "ulimit -n 65536, or fs.file-max for the machine"),
	}, {
		steps: []string{StepUsers}, errnos: []unix.Errno{unix.EAGAIN},
		why: always("no more processes are allowed (ulimit -u, or pids.max of the control group)", "ulimit -u unlimited; in Docker: --pids-limit -1"),
	}, {
		errnos: []unix.Errno{unix.ENOMEM, unix.ENOBUFS},
		why:    always("the kernel has no memory for it", moreMemory),
	}, {
		errnos: refusals,
		when:   func(_ *attempt, f *facts) bool { return f.filtered },
		why:    forFiltered,
	}, {
		errnos: forbidden,
		why:    always("a security module (SELinux, AppArmor, a policy of the container) forbids it", "find the rule in dmesg or the audit log, and allow it"),
	},
}

// forFiltered is for system calls that a seccomp filter refuses. One that allows namespaces to
// CAP_SYS_ADMIN, as Docker's does, can be left as it is if root has that.
func forFiltered(_ *attempt, f *facts) blocker {
	lift := dockerUsers
	if f.root {
		lift += "; or for root in Docker: --cap-add SYS_ADMIN --cap-add NET_ADMIN"
	}
	return blocker{"a seccomp filter forbids it, as Docker's default one does", lift}
}

func forPrivilege(a *attempt, f *facts) blocker {
	lacks := f.missing(of(privileges[a.step]))
	return blocker{"the process has no " + lacks.String(), "give it that (in Docker: --cap-add SYS_ADMIN --cap-add NET_ADMIN --cap-add NET_RAW), or allow user namespaces"}
}

// module is for a part of the kernel that is not there.
func module(name string) func(*attempt, *facts) blocker {
	return func(_ *attempt, f *facts) blocker {
		if f.is(modulesLocked, "1") {
			return blocker{"this kernel has no " + name + " loaded, and " + modulesLocked + " is 1", "load the module " + name + " at boot"}
		}
		return blocker{"this kernel has no " + name, "modprobe " + name + " as root on the machine itself, or use a kernel that has it"}
	}
}

// fits tells whether the line is about an attempt on such a machine.
func (r *rule) fits(a *attempt, f *facts) bool {
	return (r.steps == nil || slices.Contains(r.steps, a.step)) &&
		(r.errnos == nil || slices.Contains(r.errnos, a.errno)) &&
		(r.when == nil || r.when(a, f))
}

// diagnose says what stands in the way of an attempt. If nothing of the table fits, the step
// and the kernel's answer must do.
func diagnose(a *attempt, f *facts) blocker {
	for i := range rules {
		if rules[i].fits(a, f) {
			return rules[i].why(a, f)
		}
	}
	return blocker{"nothing that tcpbench knows of explains it", "look at dmesg, try as root or on another machine, and report it with the output of tcpbench doctor"}
}

// Refusal is an error: this machine cannot do what a run needs.
type Refusal struct {
	// Step is what was tried.
	Step string `json:"step"`
	// Said is what came of it: the kernel's answer in words.
	Said string `json:"said"`
	// Because is what stands in the way.
	Because string `json:"because"`
	// Lift is a command that changes that, or another way out.
	Lift string `json:"lift"`

	err error
}

func (r *Refusal) Error() string {
	return r.Step + ": " + r.Said + ": " + r.Because
}

// Summary leaves out what the kernel said, and so is the same for all that have one reason.
func (r *Refusal) Summary() string { return r.Step + ": " + r.Because }

func (r *Refusal) Unwrap() error { return r.err }

// Why explains a failure; inUsers tells that it happened as root of a user namespace of its own.
func (f *Failure) Why(inUsers bool) *Refusal {
	a := attempt{step: f.Step, errno: f.Errno, inUsers: inUsers, hung: f.Hung, killed: f.Signal != 0}
	b := diagnose(&a, readFacts())
	said := f.Text
	if f.Errno != 0 {
		said = inWords(f.Errno)
	}
	return &Refusal{Step: f.Step, Said: said, Because: b.is, Lift: b.lift, err: f}
}

// Explain finds the refusal in an error, or explains the *Failure in it. ok is false if the error
// has neither: it is not this machine that refused.
func Explain(err error) (r *Refusal, ok bool) {
	var f *Failure
	switch {
	case errors.As(err, &r):
		return r, true
	case errors.As(err, &f):
		return f.Why(Owned()), true
	}
	return nil, false
}

// inWords is what an errno means where a namespace is made: ENOSPC, for one, is not a full disk.
func inWords(errno unix.Errno) string {
	words := errno.Error()
	if errno == unix.ENOSPC {
		words = "a limit is reached"
	}
	if name := unix.ErrnoName(errno); name != "" {
		words += " (" + name + ")"
	}
	return words
}
