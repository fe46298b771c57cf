package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// inside names the environment variable that marks the test binary's second life,
// in a network namespace of its own where nobody else's connections count.
const inside = "TCPBENCH_TEST_NETNS"

// inNamespace runs the calling test again in a process with a network namespace of
// its own, with lo up, and tells whether this is that process: if not, the test has
// been run and is over.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(inside) == t.Name() {
		loopbackUp(t)
		return true
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=1m")
	cmd.Env = append(os.Environ(), inside+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: unix.SIGKILL}
	if os.Geteuid() != 0 {
		// Root of a user namespace may do in it what this needs.
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	// The parent-death signal is for the thread that starts the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil && bytes.Contains(out, []byte("--- PASS: "+t.Name())):
	case errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EINVAL):
		needed(t, fmt.Sprintf("a network namespace: %v", err))
	case bytes.Contains(out, []byte("--- SKIP: "+t.Name())):
		needed(t, string(out))
	default:
		t.Errorf("in its own namespace: %v\n%s", err, out)
	}
	return false
}

// needed skips a test for want of something that CI must have.
func needed(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("CI must have it: %s", what)
	}
	t.Skipf("NOT TESTED, for want of %s", what)
}

func loopbackUp(t *testing.T) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(os.NewSyscallError("socket", err))
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		t.Fatal(err)
	}
	lo.SetUint16(unix.IFF_UP)
	switch err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); {
	case err == unix.EPERM:
		// AppArmor may grant a user namespace without its privileges.
		needed(t, "the right to change a network namespace of one's own")
	case err != nil:
		t.Fatal(os.NewSyscallError("ioctl(SIOCSIFFLAGS)", err))
	}
}
