package lab

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"tcpbench/internal/alone"
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
		var r *Refusal
		m := FindMeans()
		q, set, _ := strings.Cut(os.Getenv(interview), " ")
		if r = m.Ask(Question(q)); set != "" {
			s, _ := ParseSetting(set)
			r = m.AskSettings([]Setting{s})
		}
		_ = json.NewEncoder(os.Stdout).Encode(testimony{m, r})
		os.Exit(0)
	}
}

// testimony is what a confined process has found.
type testimony struct {
	Means   Means
	Refused *Refusal
}

// confine takes from this process what words say, and begins its next life.
func confine(words []string) {
	runtime.LockOSThread() // filters and capabilities belong to a thread; exec keeps this one's
	for _, word := range words {
		key, value, isSetting := strings.Cut(word, "=")
		err := fmt.Errorf("no such confinement")
		switch {
		case isSetting:
			err = os.WriteFile(file(key), []byte(value), 0)
		case word == "seccomp":
			err = denyUsers()
		case word == "read-only":
			err = readOnlySettings()
		case word == "no-net-raw":
			err = unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_NET_RAW, 0, 0, 0)
		case word == "no-net-admin":
			err = unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_NET_ADMIN, 0, 0, 0)
		case word == "no-sys-admin":
			err = unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_SYS_ADMIN, 0, 0, 0)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", word, err)
			os.Exit(1)
		}
	}
	os.Unsetenv(confinement)
	fmt.Fprintln(os.Stderr, unix.Exec("/proc/self/exe", os.Args, os.Environ()))
	os.Exit(1)
}

// denyUsers does what Docker's default filter does: no system call makes a user namespace,
// and clone3, whose arguments no filter can see, is not there.
func denyUsers() error {
	const number, firstArgument = 0, 16 // of struct seccomp_data
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	is := func(k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: yes, Jf: no, K: k}
	}
	answer := func(k uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k}
	}
	program := []unix.SockFilter{
		load(number),
		is(unix.SYS_CLONE3, 5, 0),
		is(unix.SYS_CLONE, 1, 0),
		is(unix.SYS_UNSHARE, 0, 2),
		load(firstArgument),
		{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, K: unix.CLONE_NEWUSER | unix.CLONE_NEWNET, Jt: 2},
		answer(unix.SECCOMP_RET_ALLOW),
		answer(unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)),
		answer(unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)),
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	return unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&filter)), 0, 0)
}

// readOnlySettings makes /proc/sys read-only, as containers have it. The process has a mount
// namespace of its own.
func readOnlySettings() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount("/proc/sys", "/proc/sys", "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return err
	}
	return unix.Mount("", "/proc/sys", "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
}

// asked asks a question in a process that is root of a user namespace, and then confined.
func asked(t *testing.T, q Question, confined string, more uintptr) testimony {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), interview+"="+string(q))
	if confined != "" {
		cmd.Env = append(cmd.Env, confinement+"="+confined)
	}
	attr := ownUsers()
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
