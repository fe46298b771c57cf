package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// owned marks a process that Own has started.
const owned = "TCPBENCH_OWN_USERS"

// Owned tells whether this process is root of users of its own only.
func Owned() bool { return os.Getenv(owned) != "" }

// Own makes labs possible for those who are not root: it runs this program again, with the
// same arguments and these streams, as root of a user namespace of its own, and returns its exit code. Who may
// make labs already is told so by done being false, and goes on.
func Own(in io.Reader, out, complaints io.Writer) (code int, done bool, err error) {
	f, err := newNamespace()
	if err == nil {
		return 0, false, f.Close()
	}
	if Owned() || !errors.Is(err, unix.EPERM) {
		return 0, false, explain(err)
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, complaints
	cmd.Env = append(os.Environ(), owned+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		Pdeathsig:   syscall.SIGKILL,
	}
	// The parent-death signal is for the thread that starts the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 0, false, explain(err)
	}
	go func() {
		for s := range signals {
			if s != syscall.SIGINT || !inForeground() {
				_ = cmd.Process.Signal(s)
			}
		}
	}()
	err = cmd.Wait()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, true, nil
	case errors.As(err, &exit):
		if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return 128 + int(status.Signal()), true, nil
		}
		return exit.ExitCode(), true, nil
	}
	return 0, false, err
}

// inForeground tells whether the terminal sends Ctrl-C to this process's group, and so to
// the other one already.
func inForeground() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// forbidders are settings by which a kernel forbids user namespaces to those who are not
// root, and the values that do so.
var forbidders = []struct{ name, value string }{
	{"user.max_user_namespaces", "0"},
	{"user.max_net_namespaces", "0"},
	{"kernel.unprivileged_userns_clone", "0"},
	{"kernel.apparmor_restrict_unprivileged_userns", "1"},
}

// explain says which setting forbids a namespace.
func explain(err error) error {
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EACCES) {
		return err
	}
	var found []string
	for _, f := range forbidders {
		text, readErr := os.ReadFile("/proc/sys/" + strings.ReplaceAll(f.name, ".", "/"))
		if readErr == nil && strings.TrimSpace(string(text)) == f.value {
			found = append(found, f.name+"="+f.value)
		}
	}
	if len(found) > 0 {
		return fmt.Errorf("%w: forbidden by %s: change that, or be root", err, strings.Join(found, ", "))
	}
	return fmt.Errorf("%w: be root, or run where user namespaces are allowed (a container may forbid them: seccomp, CAP_SYS_ADMIN)", err)
}
