package lab

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tcpbench/internal/probe"
)

// The blockers that can be made here are made, in a process that they confine, and each is
// found and named.
func TestBlockersAreFound(t *testing.T) {
	for _, b := range []struct {
		confined string
		more     uintptr
		ask      Question
		users    bool // whether it is tried in a user namespace
		step     string
		because  string // the beginning
	}{
		// Without a privilege, root takes the way of everybody; and in users of one's own a mount
		// stays read-only that was so outside.
		{"no-net-raw user.max_user_namespaces=0", 0, CanLink, true, probe.StepUsers, "user.max_user_namespaces is 0"},
		{"user.max_net_namespaces=0", 0, CanLink, false, probe.StepNamespace, "user.max_net_namespaces is 0: nobody may make a network namespace, not even root"},
		{"no-net-admin user.max_net_namespaces=0", 0, CanLink, true, probe.StepNamespace, "user.max_net_namespaces is 0"},
		{"no-sys-admin seccomp", 0, CanLink, true, probe.StepUsers, "a seccomp filter forbids it"},
		{"seccomp", 0, CanLink, true, probe.StepUsers, "a seccomp filter forbids it"},
		{"seccomp", 0, CanUsers, true, probe.StepUsers, "a seccomp filter forbids it"},
		{"read-only no-net-raw", unix.CLONE_NEWNS, CanSysctls, true, probe.StepSysctls, "/proc/sys is read-only"},
		{"read-only no-net-raw", unix.CLONE_NEWNS, CanSysctls + " net.ipv4.tcp_rfc1337=1", true, probe.StepSysctls, "/proc/sys is read-only"},
	} {
		got := asked(t, b.ask, b.confined, b.more)
		switch {
		case got.Refused == nil:
			t.Errorf("%s: %s can be done", b.confined, b.ask)
			continue
		case got.Means.Users != b.users || got.Refused.Step != b.step || !strings.HasPrefix(got.Refused.Because, b.because):
			t.Errorf("%s: %s by users of its own: %v: %+v", b.confined, b.ask, got.Means.Users, got.Refused)
		case got.Refused.Lift == "" || got.Refused.Said == "":
			t.Errorf("%s: says too little: %+v", b.confined, got.Refused)
		}
		t.Logf("%s: %v; to lift it: %s", b.confined, got.Refused, got.Refused.Lift)
	}
}

// What nothing blocks can be done, also by root that lacks a privilege.
func TestWhatNothingBlocksCanBeDone(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("long, and all in processes of its own")
	}
	for _, b := range []struct {
		confined string
		users    bool
	}{{"", false}, {"no-net-raw", true}, {"no-net-admin", true}, {"no-sys-admin no-net-raw no-net-admin", true}} {
		for _, q := range []Question{CanUsers, CanNamespaces, CanLink, CanSysctls, CanCapture} {
			got := asked(t, q, b.confined, 0)
			if got.Refused != nil || got.Means.Users != b.users {
				t.Errorf("%q, %s: users of its own: %v, refused: %v", b.confined, q, got.Means.Users, got.Refused)
			}
		}
	}
}

// A setting that a new namespace has anyway needs no writing.
func TestSettingsThatAreThereNeedNoWriting(t *testing.T) {
	if got := asked(t, CanSysctls+" net.ipv4.tcp_rfc1337=0", "read-only no-net-raw", unix.CLONE_NEWNS); got.Refused != nil {
		t.Error(got.Refused)
	}
	if got := asked(t, CanSysctls+" net.ipv4.tcp_rfc1337=1", "", 0); got.Refused != nil {
		t.Error(got.Refused)
	}
}
