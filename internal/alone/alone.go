// Package alone gives a test a process of its own, with its own limits, or with a network namespace
// in which only its own connections count and settings may change. Only tests import it.
package alone

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"tcpbench/internal/namespace"
)

// inside is the environment variable that marks a process of Process.
const inside = "TCPBENCH_TEST_INSIDE"

// Inside tells whether Process started this process: a TestMain that starts children of the same
// binary must not take it for one of them.
func Inside() bool { return os.Getenv(inside) != "" }

// Needed skips a test, in one line, because this machine does not have what it needs. In CI the test
// fails.
func Needed(t testing.TB, what string) {
	t.Helper()
	what = strings.Join(strings.Fields(what), " ")
	if os.Getenv("CI") == "true" {
		t.Fatalf("CI must have it: %s", what)
	}
	t.Skip(notTested + what)
}

// IPv6 tells whether ::1 can be used. If not, the test says in one line that this part of it is left
// out; in CI it fails.
func IPv6(t testing.TB) bool {
	t.Helper()
	l, err := net.Listen("tcp6", "[::1]:0")
	if err == nil {
		return l.Close() == nil
	}
	if os.Getenv("CI") == "true" {
		t.Errorf("CI must have IPv6: %v", err)
	}
	t.Logf("%sIPv6: %v", notTested, err)
	return false
}

// Loopbacks returns an address to listen at for each family that this machine has.
func Loopbacks(t testing.TB) []string {
	t.Helper()
	if IPv6(t) {
		return []string{"127.0.0.1:0", "[::1]:0"}
	}
	return []string{"127.0.0.1:0"}
}

// notTested begins the line of each skip.
const notTested = "NOT TESTED: needs "

// Process runs the calling test again in a process of its own. It returns true in that process; in
// the caller's it returns false when the test is over. Such tests run in parallel.
func Process(t *testing.T, attr *syscall.SysProcAttr) bool {
	t.Helper()
	if os.Getenv(inside) == t.Name() {
		return true
	}
	t.Parallel()
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), inside+"="+t.Name())
	cmd.SysProcAttr = attr
	cmd.SysProcAttr.Pdeathsig = unix.SIGKILL
	// The parent-death signal is for the thread that starts the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil && bytes.Contains(out, []byte("--- PASS: "+t.Name())):
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EINVAL):
		Needed(t, fmt.Sprintf("a process of its own: %v", err))
	case err == nil && bytes.Contains(out, []byte("--- SKIP: "+t.Name())):
		_, what, _ := bytes.Cut(out, []byte(notTested))
		what, _, _ = bytes.Cut(what, []byte("\n"))
		Needed(t, string(what))
	default:
		t.Errorf("in a process of its own: %v\n%s", err, out)
	}
	return false
}

// Network starts a process in a network namespace of its own, in which it is root.
func Network() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{}
	if os.Geteuid() != 0 {
		attr = namespace.Users()
	}
	attr.Cloneflags |= unix.CLONE_NEWNET
	return attr
}

// Namespace is Process in a network namespace of its own, with lo up and with settings as in
// sysctl.conf(5).
func Namespace(t *testing.T, settings ...string) bool {
	t.Helper()
	if !Process(t, Network()) {
		return false
	}
	LoopbackUp(t)
	for _, s := range settings {
		Sysctl(t, s)
	}
	return true
}

// Sysctl changes a setting of the namespace that the test is in.
func Sysctl(t *testing.T, setting string) {
	t.Helper()
	name, value, _ := strings.Cut(setting, "=")
	file := "/proc/sys/" + strings.ReplaceAll(name, ".", "/")
	if err := os.WriteFile(file, []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

// LoopbackUp sets lo of a new namespace up.
func LoopbackUp(t testing.TB) {
	t.Helper()
	err := bringLoopbackUp()
	if errors.Is(err, unix.EPERM) {
		// AppArmor may grant a user namespace without its privileges.
		Needed(t, "the right to change a network namespace of one's own")
	}
	must(t, "set lo up", err)
}
