// Command container runs a program as a container engine would, without one: in a root
// directory that holds nothing but the program, with Docker's default capabilities, a read-only
// /proc/sys, a network of its own that has only loopback, as an ordinary user, and behind a
// seccomp filter that denies namespaces.
//
//	go run ./scripts/container -root DIR [-user N] [-filter=false] [-writable] -- /tcpbench list
//
// It needs root. What it cannot show is what an engine adds: AppArmor, SELinux, cgroups.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"tcpbench/internal/alone"
)

// inside marks the process that is in the container's namespaces already.
const inside = "TCPBENCH_CONTAINER"

func main() {
	root := flag.String("root", "", "the root directory, with the program in it")
	user := flag.Int("user", 65534, "user and group of the program")
	filter := flag.Bool("filter", true, "deny user and network namespaces, as Docker's default seccomp filter does")
	writable := flag.Bool("writable", false, "leave /proc/sys writable, as --security-opt systempaths=unconfined does")
	flag.Parse()
	if *root == "" || flag.NArg() == 0 {
		fmt.Fprintln(os.Stderr, "container: -root DIR and a program are needed")
		os.Exit(2)
	}
	words := []string{"loopback", "root=" + *root, "read-only", "docker-capabilities", fmt.Sprintf("uid=%d", *user)}
	if *writable {
		words = slices.Delete(words, 2, 3)
	}
	if *filter {
		words = append(words, "seccomp")
	}
	if os.Getenv(inside) != "" {
		os.Unsetenv(inside)
		err := enter(words, flag.Args())
		fmt.Fprintf(os.Stderr, "container: %v\n", err)
		os.Exit(1)
	}
	os.Exit(run())
}

// run runs this program again in new namespaces, and returns its exit code.
func run() int {
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC, Pdeathsig: unix.SIGKILL,
	}
	runtime.LockOSThread() // the parent-death signal is for the thread that starts the process
	err := cmd.Run()
	var ended *exec.ExitError
	switch {
	case errors.As(err, &ended):
		return ended.ExitCode()
	case err != nil:
		fmt.Fprintf(os.Stderr, "container: %v: run as root\n", err)
		return 1
	}
	return 0
}

// enter becomes the program. Its environment is what an engine gives to an image from scratch.
func enter(words, program []string) error {
	runtime.LockOSThread()
	if err := alone.Confine(words); err != nil {
		return err
	}
	if err := unix.Exec(program[0], program, []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", "HOSTNAME=container"}); err != nil {
		return fmt.Errorf("execute %s: %w", strings.Join(program, " "), err)
	}
	return nil
}
