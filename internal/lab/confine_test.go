package lab

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"tcpbench/internal/alone"
	"tcpbench/internal/machine"
	"tcpbench/internal/namespace"
	"tcpbench/internal/probe"
)

// The environment variables of a confined process: what confines it, and a question.
const (
	confinement = "TCPBENCH_TEST_CONFINE"
	interview   = "TCPBENCH_TEST_ASK"
)

// The lives of this test binary that are no run of tests.
func init() {
	switch {
	case probe.Invoked():
		os.Exit(probe.Main(Questions()))
	case os.Getenv(confinement) != "":
		confine(strings.Fields(os.Getenv(confinement)))
	case os.Getenv(interview) != "":
		var r *probe.Refusal
		m := FindMeans()
		q, set, _ := strings.Cut(os.Getenv(interview), " ")
		if r = m.Ask(Question(q)); set != "" {
			s, _ := machine.ParseSetting(set)
			r = m.AskSettings([]machine.Setting{s})
		}
		_ = json.NewEncoder(os.Stdout).Encode(testimony{m, r})
		os.Exit(0)
	}
}

// testimony is what a confined process has found.
type testimony struct {
	Means   Means
	Refused *probe.Refusal
}

// confine takes from this process what words say (alone.Confine), and begins its next life.
func confine(words []string) {
	runtime.LockOSThread() // filters and capabilities belong to a thread; exec keeps this one's
	if err := alone.Confine(words); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Unsetenv(confinement)
	fmt.Fprintln(os.Stderr, unix.Exec("/proc/self/exe", os.Args, os.Environ()))
	os.Exit(1)
}

// asked asks a question in a process that is root of a user namespace, and then confined.
func asked(t *testing.T, q Question, confined string, more uintptr) testimony {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	// What this process has is not what that one has.
	inherited := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "TCPBENCH_OWN_USERS=") })
	cmd.Env = append(inherited, interview+"="+string(q))
	if confined != "" {
		cmd.Env = append(cmd.Env, confinement+"="+confined)
	}
	attr := namespace.Users()
	attr.Cloneflags |= more
	cmd.SysProcAttr = attr
	runtime.LockOSThread() // the parent-death signal is for the thread that starts the process
	defer runtime.UnlockOSThread()
	complaint := &strings.Builder{}
	cmd.Stderr = complaint
	out, err := cmd.Output()
	if err != nil && out == nil && cmd.Process == nil {
		alone.Needed(t, fmt.Sprintf("user namespaces: %v", err))
	}
	if err != nil {
		t.Fatalf("confined by %q: %v %s", confined, err, complaint)
	}
	var said testimony
	if err := json.Unmarshal(out, &said); err != nil {
		t.Fatalf("confined by %q: %v: %s %s", confined, err, out, complaint)
	}
	return said
}
