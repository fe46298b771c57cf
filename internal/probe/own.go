package probe

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"tcpbench/internal/namespace"
)

// owned is the environment variable of a process that Own has started.
const owned = "TCPBENCH_OWN_USERS"

// Owned tells whether Own has started this process: it is root of a user namespace of its own.
func Owned() bool { return os.Getenv(owned) != "" }

// Able tells whether this process can make labs itself: it has the capabilities, and nothing else,
// such as a seccomp filter, forbids a network namespace.
func Able() bool {
	if Owned() {
		return true // nothing else is left to try
	}
	if readCapabilities()&needed != needed {
		return false
	}
	n, err := namespace.New("probe", nil)
	if err != nil {
		return !errors.Is(err, unix.EPERM)
	}
	_ = n.Close() // a descriptor of our own
	return true
}

// Own makes labs possible without root: it runs this program again, with the same arguments and these
// streams, as root of a user namespace of its own, and returns its exit code. If this process is
// Able, done is false and Own runs nothing. If the kernel refuses, the error is a *Refusal.
func Own(in io.Reader, out, complaints io.Writer) (code int, done bool, err error) {
	if Able() {
		return 0, false, nil
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, complaints
	cmd.Env = append(os.Environ(), owned+"=1")
	cmd.SysProcAttr = namespace.Users()
	// The parent-death signal is for the thread that starts the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(signals)
	if err := cmd.Start(); err != nil {
		return 0, false, failed(StepUsers, err).Why(true)
	}
	over := make(chan struct{})
	defer close(over)
	go forward(signals, cmd.Process, over)
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
	return 0, false, fmt.Errorf("wait for the process in a user namespace of its own: %w", err)
}

// Tests runs the tests of a package like Own, and returns their exit code. If the kernel refuses, they
// run in this process, and those that need a lab are skipped.
func Tests(run func() int, in io.Reader, out, complaints io.Writer) int {
	code, done, err := Own(in, out, complaints)
	if done {
		return code
	}
	if err != nil {
		fmt.Fprintln(complaints, "tests that need a namespace are skipped:", err)
	}
	return run()
}

// forward passes signals on to a process until it has ended.
func forward(signals <-chan os.Signal, to *os.Process, over <-chan struct{}) {
	for {
		select {
		case s := <-signals:
			if s != syscall.SIGINT || !inForeground() {
				_ = to.Signal(s) // fails if it has ended
			}
		case <-over:
			return
		}
	}
}

// inForeground tells whether the terminal sends Ctrl-C to this process's group, so the other process
// gets it already.
func inForeground() bool {
	tty, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer tty.Close()
	group, err := unix.IoctlGetInt(int(tty.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}
