package probe

import (
	"errors"
	"slices"

	"golang.org/x/sys/unix"
)

// blocker is why this machine refuses something, and what to do about it.
type blocker struct{ is, lift string }

// attempt is what this machine refused.
type attempt struct {
	step    string
	errno   unix.Errno
	inUsers bool // it was tried as root of a user namespace of its own
	// If the kernel did not answer, the process that tried it hung or was killed.
	hung, killed bool
}

// What to do about several blockers.
const (
	asRoot       = "run as root"
	dockerUsers  = "in Docker or Podman: --security-opt seccomp=unconfined; in Kubernetes: securityContext.seccompProfile.type: Unconfined; in systemd: RestrictNamespaces=no"
	dockerPaths  = "in Docker: --security-opt systempaths=unconfined --security-opt apparmor=unconfined"
	appArmorLift = "sysctl -w " + appArmor + "=0, or load an AppArmor profile with the rule userns for tcpbench (docs/lab.md), or run as root"
)

// rule names the blocker of an attempt that fits. The first rule that fits counts.
type rule struct {
	steps  []string // nil is any
	errnos []unix.Errno
	when   func(*attempt, *facts) bool // nil is always
	why    func(*attempt, *facts) blocker
}

// always is a blocker that does not depend on facts.
func always(is, lift string) func(*attempt, *facts) blocker {
	return func(*attempt, *facts) blocker { return blocker{is, lift} }
}

// forbidden are the two errors by which the kernel refuses permission.
var forbidden = []unix.Errno{unix.EPERM, unix.EACCES}

// refusals are the errors that a seccomp filter gives.
var refusals = append([]unix.Errno{unix.ENOSYS}, forbidden...)

// privileges are the capabilities that steps need.
var privileges = map[string]int{
	StepNamespace: unix.CAP_SYS_ADMIN, StepSocket: unix.CAP_NET_ADMIN, StepDevice: unix.CAP_NET_ADMIN,
	StepOffloads: unix.CAP_NET_ADMIN, StepAddress: unix.CAP_NET_ADMIN, StepRate: unix.CAP_NET_ADMIN,
	StepPacket: unix.CAP_NET_RAW, StepRing: unix.CAP_NET_RAW, StepCapture: unix.CAP_NET_RAW,
}

// The tests of several rules.
func hung(a *attempt, _ *facts) bool     { return a.hung }
func filtered(_ *attempt, f *facts) bool { return f.filtered }

func set(key, value string) func(*attempt, *facts) bool {
	return func(_ *attempt, f *facts) bool { return f.is(key, value) }
}

// limited is for a limit of namespaces that is reached; more says what else may have set one.
func limited(kind, key, more, lift string) func(*attempt, *facts) blocker {
	return func(_ *attempt, f *facts) blocker {
		return blocker{"there are as many " + kind + " namespaces as are allowed (" + f.said(key) + "; " + more, "sysctl -w " + key + "=15000 on the machine itself" + lift}
	}
}

// on lists the steps of a rule.
func on(steps ...string) []string { return steps }

// by lists the answers of a rule.
func by(errnos ...unix.Errno) []unix.Errno { return errnos }

var rules = []rule{
	{when: hung, why: always("the kernel does not answer", "look at dmesg; another program may hold the lock of all network namespaces (rtnl)")},
	{when: func(a *attempt, f *facts) bool { return a.killed && f.filtered }, why: always("a seccomp filter kills who tries it", dockerUsers)},
	{on(StepSysctls), append(by(0, unix.EROFS), forbidden...), nil, // 0 is a setting that was read
		always("/proc/sys is read-only, as containers have it", dockerPaths+"; elsewhere: mount -o remount,rw /proc/sys")},
	{on(StepHost), forbidden, nil, always("settings of the machine are for its root", "run as root, outside of user namespaces")},
	{on(StepSysctls, StepHost), by(unix.ENOENT), nil, always("/proc/sys is not there", "mount -t proc proc /proc")},

	{on(StepUsers), by(unix.ENOSPC), set(maxUsers, "0"), always(maxUsers+" is 0: nobody may make a user namespace", "sysctl -w "+maxUsers+"=15000")},
	{on(StepUsers), by(unix.ENOSPC, unix.EUSERS), nil,
		limited("user", maxUsers, "one around this may allow fewer), or they are nested 32 deep", ", or run outside of the nested namespaces")},
	{on(StepUsers), by(unix.EINVAL), func(_ *attempt, f *facts) bool { return !f.users }, always("this kernel has no user namespaces (CONFIG_USER_NS)", asRoot)},
	{on(StepUsers), forbidden, func(_ *attempt, f *facts) bool {
		return f.is(unprivileged, "0") && f.missing(of(unix.CAP_SYS_ADMIN)) != 0
	}, always(unprivileged+" is 0: only root may make a user namespace", "sysctl -w "+unprivileged+"=1, or "+asRoot)},
	{on(StepUsers), forbidden, func(_ *attempt, f *facts) bool { return f.chrooted },
		always("the process is in a chroot, and the kernel makes no user namespace there (user_namespaces(7))", "run outside of the chroot, or in a container, which uses pivot_root")},
	{on(StepUsers), refusals, filtered, forFiltered},
	{nil, forbidden, func(a *attempt, f *facts) bool { return (a.inUsers || a.step == StepUsers) && f.is(appArmor, "1") },
		always("AppArmor gives a user namespace no privileges: "+appArmor+" is 1", appArmorLift)},
	{on(StepUsers), forbidden, nil,
		always("a security module (SELinux, AppArmor, a policy of the container) forbids user namespaces", asRoot+", or find the rule in dmesg or the audit log, and allow it")},

	{on(StepNamespace), by(unix.ENOSPC), set(maxNetworks, "0"),
		always(maxNetworks+" is 0: nobody may make a network namespace, not even root", "sysctl -w "+maxNetworks+"=15000")},
	{on(StepNamespace), by(unix.ENOSPC), nil, limited("network", maxNetworks, "a user namespace around this may allow fewer)", "")},
	{on(StepNamespace), by(unix.EINVAL), func(_ *attempt, f *facts) bool { return !f.networks },
		always("this kernel has no network namespaces (CONFIG_NET_NS)", "use a kernel that has them")},

	{nil, forbidden, func(a *attempt, f *facts) bool {
		k, ok := privileges[a.step]
		return ok && !a.inUsers && f.missing(of(k)) != 0
	}, forPrivilege},
	{on(StepDevice), by(unix.EOPNOTSUPP, unix.ENODEV), nil, module("veth")},
	{on(StepPacket, StepCapture), by(unix.EAFNOSUPPORT, unix.EPROTONOSUPPORT, unix.ESOCKTNOSUPPORT), nil, module("af_packet")},
	{on(StepRate), by(unix.EOPNOTSUPP, unix.ENOENT), nil, module("sch_tbf")},
	{nil, by(unix.EROFS), nil, always("/proc/sys is read-only, as containers have it", dockerPaths)},
	{nil, by(unix.EMFILE, unix.ENFILE), nil, always("there are no more descriptors", "ulimit -n 65536, or fs.file-max for the machine")},
	{on(StepUsers), by(unix.EAGAIN), nil, always("no more processes are allowed (ulimit -u, or pids.max of the control group)", "ulimit -u unlimited; in Docker: --pids-limit -1")},
	{nil, by(unix.ENOMEM, unix.ENOBUFS), nil, always("the kernel has no memory for it", "raise the memory limit of the container or control group")},
	{nil, refusals, filtered, forFiltered},
	{nil, forbidden, nil, always("a security module (SELinux, AppArmor, a policy of the container) forbids it", "find the rule in dmesg or the audit log, and allow it")},
}

// forFiltered is for system calls that a seccomp filter refuses. Docker's filter allows namespaces
// to root with CAP_SYS_ADMIN.
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

// module is for a part of the kernel that is missing.
func module(name string) func(*attempt, *facts) blocker {
	return func(_ *attempt, f *facts) blocker {
		if f.is(modulesLocked, "1") {
			return blocker{"this kernel has no " + name + " loaded, and " + modulesLocked + " is 1", "load the module " + name + " at boot"}
		}
		return blocker{"this kernel has no " + name, "modprobe " + name + " as root on the machine itself, or use a kernel that has it"}
	}
}

// fits tells whether the rule is about an attempt on a machine with these facts.
func (r *rule) fits(a *attempt, f *facts) bool {
	return (r.steps == nil || slices.Contains(r.steps, a.step)) &&
		(r.errnos == nil || slices.Contains(r.errnos, a.errno)) &&
		(r.when == nil || r.when(a, f))
}

// diagnose returns the blocker of an attempt.
func diagnose(a *attempt, f *facts) blocker {
	for i := range rules {
		if rules[i].fits(a, f) {
			return rules[i].why(a, f)
		}
	}
	return blocker{"tcpbench does not know why", "look at dmesg, try as root or on another machine, and report it with the output of tcpbench doctor"}
}

// Refusal is the error that this machine cannot do what a run needs.
type Refusal struct {
	// Step is what was tried.
	Step string `json:"step"`
	// Said is the kernel's answer in words.
	Said string `json:"said"`
	// Because is the reason.
	Because string `json:"because"`
	// Lift is a command that changes that, or another remedy.
	Lift string `json:"lift"`

	err error
}

func (r *Refusal) Error() string {
	return r.Step + ": " + r.Said + ": " + r.Because
}

// Summary is the error without the kernel's answer.
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
