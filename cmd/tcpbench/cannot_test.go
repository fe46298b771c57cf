package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"tcpbench/internal/alone"
	"tcpbench/internal/probe"
	"tcpbench/scenarios"
)

// confinement is the environment variable with the words of alone.Confine for the program.
const confinement = "TCPBENCH_TEST_CONFINE"

// The program's lives that begin before main: a question of its own, or a confinement.
func init() {
	if probe.Invoked() {
		os.Exit(probe.Main(scenarios.Questions()))
	}
	words := os.Getenv(confinement)
	if words == "" {
		return
	}
	os.Unsetenv(confinement)
	runtime.LockOSThread() // filters and capabilities belong to a thread; exec keeps this one's
	err := alone.Confine(strings.Fields(words))
	if err == nil {
		err = syscall.Exec("/proc/self/exe", os.Args, os.Environ())
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(111)
}

// confine is the program as root of a user namespace, confined by words.
func confine(t *testing.T, words string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), "tcpbench", args...)
	cmd.Env = append(os.Environ(), confinement+"="+words)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	return cmd
}

// confined runs it.
func confined(t *testing.T, words string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := confine(t, words, args...)
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err := cmd.Run()
	var ended *exec.ExitError
	switch {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOSPC):
		alone.Needed(t, fmt.Sprintf("user namespaces: %v", err))
	case err != nil && !errors.As(err, &ended):
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), complaints.String()
}

// What this machine cannot is found before the run: exit code 6, the step, the blocker, the
// command that lifts it. Nothing is on stdout, and no file is made.
func TestCannot(t *testing.T) {
	t.Parallel()
	const noUsers, noNetworks, filter = "no-net-raw user.max_user_namespaces=0", "user.max_net_namespaces=0", "seccomp"
	out := filepath.Join(t.TempDir(), "result.json")
	for _, c := range []struct {
		words string
		args  []string
		says  []string
	}{
		{noUsers, []string{"run", "handshake", "--out", out}, []string{"make a user namespace: a limit is reached (ENOSPC): user.max_user_namespaces is 0", "sysctl -w user.max_user_namespaces=15000"}},
		{noNetworks, []string{"lab", "short", "--count", "1"}, []string{"make a network namespace: a limit is reached (ENOSPC): user.max_net_namespaces is 0", "sysctl -w user.max_net_namespaces=15000"}},
		{filter, []string{"run", "retransmit"}, []string{"make a user namespace: operation not permitted (EPERM): a seccomp filter forbids it", "--security-opt seccomp=unconfined"}},
		{filter, []string{"compare", "short", "--vary", "net.core.somaxconn=1,2"}, []string{"a seccomp filter"}},
		{filter, []string{"lab", "shell", "client"}, []string{"a seccomp filter"}},
		{"read-only no-net-raw", []string{"run", "time-wait-exhaustion"}, []string{"net.ipv4.ip_local_port_range = 20000 20999", "/proc/sys is read-only", "systempaths=unconfined"}},
	} {
		code, stdout, stderr := confined(t, c.words, c.args...)
		if code != exitCannot || stdout != "" {
			t.Errorf("%s: %q: exit code %d, stdout %q", c.words, c.args, code, stdout)
		}
		for _, part := range append(c.says, "tcpbench: this machine cannot ", "\nto allow it: ", "tcpbench list") {
			if !strings.Contains(stderr, part) {
				t.Errorf("%s: %q: stderr lacks %q:\n%s", c.words, c.args, part, stderr)
			}
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Errorf("%s was made", out)
	}
}

// Root without a privilege that a lab needs makes users of its own, which have all of them.
func TestRootWithoutPrivilegesFallsBack(t *testing.T) {
	t.Parallel()
	for _, words := range []string{"no-net-raw", "no-net-admin", "no-sys-admin no-net-raw no-net-admin"} {
		if code, _, stderr := confined(t, words, "lab", "short", "--count", "20", "--quiet"); code != 0 {
			t.Errorf("%s: exit code %d: %s", words, code, stderr)
		}
	}
}

// list says what can be run here: by a column, and in JSON by fields.
func TestListSaysWhatCanBeRunHere(t *testing.T) {
	t.Parallel()
	here := func(words string) map[string]scenarios.Listing {
		code, stdout, stderr := confined(t, words, "list", "--format", "json")
		var all []scenarios.Listing
		if err := json.Unmarshal([]byte(stdout), &all); code != 0 || err != nil {
			t.Fatalf("%s: exit code %d: %v: %s", words, code, err, stderr)
		}
		named := map[string]scenarios.Listing{}
		for _, l := range all {
			named[l.Name] = l
		}
		return named
	}
	filtered := here("seccomp")
	if filtered["short"].Here != "yes" || filtered["keepalive"].Here == "yes" || !strings.Contains(filtered["keepalive"].WhyNot, "seccomp") || filtered["keepalive"].Lift == "" {
		t.Errorf("%+v, %+v", filtered["short"], filtered["keepalive"])
	}
	// Where settings may only be read, those that have their values already do no harm.
	still := here("read-only no-net-raw")
	if still["close-wait-leak"].Here != "yes" || still["time-wait-assassination"].Here != "yes" || still["time-wait-exhaustion"].Here == "yes" {
		t.Errorf("%+v, %+v", still["close-wait-leak"], still["time-wait-exhaustion"])
	}
	_, text, _ := confined(t, "seccomp", "list")
	if !strings.Contains(text, "\nThis machine cannot make a user namespace: a seccomp filter") || strings.Count(text, "This machine cannot") != 1 {
		t.Errorf("%s", text)
	}
}

// run --all goes on after a scenario that cannot be run, and Ctrl-C keeps the sum of what was
// done.
func TestAllGoesOn(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it runs the loads of this host, half a minute")
	}
	cmd := confine(t, "seccomp", "run", "--all", "--quiet")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		alone.Needed(t, fmt.Sprintf("user namespaces: %v", err))
	}
	var said []string
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		said = append(said, lines.Text())
		if lines.Text() == "CANNOT RUN      simultaneous-open" {
			if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
				t.Error(err)
			}
		}
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != exitSignal+int(syscall.SIGINT) {
		t.Errorf("%v", err)
	}
	all := strings.Join(said, "\n")
	for _, part := range []string{
		"MEASURED        short ", "CANNOT RUN      handshake\n", " reproduced, ", " cannot run here",
		"\ncannot run here: handshake, simultaneous-open", "  why   make a user namespace: a seccomp filter forbids it",
	} {
		if !strings.Contains(all, part) {
			t.Errorf("stdout lacks %q", part)
		}
	}
	if !regexp.MustCompile(`\d+ not\s+begun`).MatchString(all) {
		t.Error("what was not begun is not counted")
	}
	if t.Failed() {
		t.Log(all)
	}
}
