package probe

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// sys makes the settings of a machine.
func sys(pairs ...string) map[string]string {
	m := map[string]string{maxUsers: "15000", maxNetworks: "15000"}
	for _, p := range pairs {
		key, value, _ := strings.Cut(p, "=")
		m[key] = value
	}
	return m
}

// Every line of the table, by an attempt and a machine that it is for.
func TestBlockers(t *testing.T) {
	user := facts{users: true, networks: true, sysctls: sys()}
	root := user
	root.root, root.capabilities = true, needed
	with := func(f facts, change func(*facts)) facts { change(&f); return f }
	usersEPERM := attempt{step: StepUsers, errno: unix.EPERM, inUsers: true}
	inside := attempt{step: StepDevice, errno: unix.EPERM, inUsers: true}

	seen := map[int]bool{}
	for _, c := range []struct {
		a        attempt
		f        facts
		is, lift string // parts
	}{
		{attempt{step: StepLab, hung: true}, root, "the kernel does not answer", "dmesg"},
		{attempt{step: StepPacket, killed: true}, with(user, func(f *facts) { f.filtered = true }), "a seccomp filter kills", "seccomp=unconfined"},
		{attempt{step: StepUsers, errno: unix.ENOSPC, inUsers: true}, with(user, func(f *facts) { f.sysctls = sys(maxUsers + "=0") }), maxUsers + " is 0", "sysctl -w user.max_user_namespaces=15000"},
		{attempt{step: StepUsers, errno: unix.ENOSPC, inUsers: true}, user, "user.max_user_namespaces is 15000", "on the machine itself"},
		{attempt{step: StepUsers, errno: unix.EUSERS, inUsers: true}, user, "32 deep", "outside of the nested"},
		{attempt{step: StepUsers, errno: unix.ENOSPC, inUsers: true}, facts{users: true}, "user.max_user_namespaces cannot be read", ""},
		{attempt{step: StepUsers, errno: unix.EINVAL, inUsers: true}, with(user, func(f *facts) { f.users = false }), "CONFIG_USER_NS", "run as root"},
		{usersEPERM, with(user, func(f *facts) { f.sysctls = sys(unprivileged + "=0") }), unprivileged + " is 0", "sysctl -w " + unprivileged + "=1"},
		{usersEPERM, with(user, func(f *facts) { f.chrooted = true }), "chroot", "outside of the chroot"},
		{usersEPERM, with(user, func(f *facts) { f.filtered = true }), "a seccomp filter forbids it", "--security-opt seccomp=unconfined"},
		{attempt{step: StepUsers, errno: unix.ENOSYS, inUsers: true}, with(user, func(f *facts) { f.filtered = true }), "a seccomp filter", ""},
		{usersEPERM, with(user, func(f *facts) { f.filtered, f.root = true, true }), "a seccomp filter", "for root in Docker: --cap-add SYS_ADMIN --cap-add NET_ADMIN"},
		{usersEPERM, with(user, func(f *facts) { f.sysctls = sys(appArmor + "=1") }), "AppArmor", appArmor + "=0"},
		{attempt{step: StepUsers, errno: unix.EACCES, inUsers: true}, with(user, func(f *facts) { f.sysctls = sys(appArmor + "=1") }), "AppArmor", appArmor + "=0"},
		{attempt{step: StepNamespace, errno: unix.EPERM, inUsers: true}, with(user, func(f *facts) { f.sysctls = sys(appArmor + "=1") }), "AppArmor gives a user namespace no privileges", appArmor + "=0"},
		{inside, with(user, func(f *facts) { f.sysctls = sys(appArmor + "=1") }), "AppArmor", appArmor + "=0"},
		{usersEPERM, user, "a security module", "run as root"},
		{attempt{step: StepNamespace, errno: unix.ENOSPC}, with(root, func(f *facts) { f.sysctls = sys(maxNetworks + "=0") }), "not even root", "sysctl -w user.max_net_namespaces=15000"},
		{attempt{step: StepNamespace, errno: unix.ENOSPC}, root, "user.max_net_namespaces is 15000", "on the machine itself"},
		{attempt{step: StepNamespace, errno: unix.EINVAL}, with(root, func(f *facts) { f.networks = false }), "CONFIG_NET_NS", "kernel"},
		{attempt{step: StepNamespace, errno: unix.EPERM}, with(root, func(f *facts) { f.capabilities &^= of(unix.CAP_SYS_ADMIN) }), "no CAP_SYS_ADMIN", "--cap-add SYS_ADMIN"},
		{attempt{step: StepDevice, errno: unix.EPERM}, with(root, func(f *facts) { f.capabilities &^= of(unix.CAP_NET_ADMIN) }), "no CAP_NET_ADMIN", "--cap-add"},
		{attempt{step: StepPacket, errno: unix.EPERM}, with(root, func(f *facts) { f.capabilities &^= of(unix.CAP_NET_RAW) }), "no CAP_NET_RAW", "--cap-add"},
		{attempt{step: StepDevice, errno: unix.EOPNOTSUPP}, root, "no veth", "modprobe veth"},
		{attempt{step: StepDevice, errno: unix.EOPNOTSUPP}, with(root, func(f *facts) { f.sysctls = sys(modulesLocked + "=1") }), "kernel.modules_disabled is 1", "at boot"},
		{attempt{step: StepPacket, errno: unix.EAFNOSUPPORT}, root, "no af_packet", "modprobe af_packet"},
		{attempt{step: StepRate, errno: unix.ENOENT}, root, "no sch_tbf", "modprobe sch_tbf"},
		{attempt{step: StepSysctls, errno: unix.EROFS}, root, "/proc/sys is read-only", "systempaths=unconfined"},
		{attempt{step: StepSysctls, errno: unix.EACCES, inUsers: true}, user, "/proc/sys is read-only", "apparmor=unconfined"},
		{attempt{step: StepSysctls}, root, "/proc/sys is read-only", "systempaths=unconfined"},
		{attempt{step: StepHost, errno: unix.EACCES}, user, "root", "outside of user namespaces"},
		{attempt{step: StepHost, errno: unix.EROFS}, root, "/proc/sys is read-only", "systempaths=unconfined"},
		{attempt{step: StepSysctls, errno: unix.ENOENT}, root, "/proc/sys is not there", "mount -t proc"},
		{attempt{step: StepAddress, errno: unix.EROFS}, root, "/proc/sys is read-only", "systempaths=unconfined"},
		{attempt{step: StepPacket, errno: unix.EMFILE}, root, "no more descriptors", "ulimit -n"},
		{attempt{step: StepUsers, errno: unix.EAGAIN, inUsers: true}, user, "no more processes", "--pids-limit"},
		{attempt{step: StepRing, errno: unix.ENOMEM}, root, "no memory", "memory limit"},
		{attempt{step: StepOffloads, errno: unix.EPERM, inUsers: true}, with(user, func(f *facts) { f.filtered = true }), "a seccomp filter", "unconfined"},
		{inside, user, "a security module", "audit log"},
		{attempt{step: StepDevice, errno: unix.EXDEV}, root, "tcpbench does not know why", "tcpbench doctor"},
	} {
		b := diagnose(&c.a, &c.f)
		if !strings.Contains(b.is, c.is) || !strings.Contains(b.lift, c.lift) || b.lift == "" {
			t.Errorf("%+v on %+v: %+v, want %q, lifted by %q", c.a, c.f, b, c.is, c.lift)
		}
		seen[slices.IndexFunc(rules, func(r rule) bool { return r.fits(&c.a, &c.f) })] = true
	}
	for i := range rules {
		if !seen[i] {
			t.Errorf("line %d of the table has no test: %v %v", i, rules[i].steps, rules[i].errnos)
		}
	}
}

// A refusal says the step, the kernel's answer in words, and the blocker; errors.Is still
// finds the answer. What is no refusal stays what it is.
func TestExplain(t *testing.T) {
	r, ok := Explain(fmt.Errorf("make a lab: %w", Refused(StepRing, fmt.Errorf("lab-c: %w", unix.ENOMEM))))
	if !ok || r.Error() != "map a packet ring: cannot allocate memory (ENOMEM): the kernel has no memory for it" || !errors.Is(r, unix.ENOMEM) {
		t.Errorf("%v, %v", r, ok)
	}
	if again, ok := Explain(fmt.Errorf("phase one: %w", r)); !ok || again != r {
		t.Errorf("%v, %v", again, ok)
	}
	if _, ok := Explain(errors.New("no such profile")); ok {
		t.Error("an error that the machine has no part in")
	}
}
