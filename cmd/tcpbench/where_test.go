package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"tcpbench/internal/alone"
	"tcpbench/internal/lab"
	"tcpbench/metrics"
	"tcpbench/scenarios"
)

// without runs the program where no network namespace can be made: in users of its own, that
// may have none.
func without(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	if err := scenarios.ThisMachine().Refuses(lab.CanLink); err != nil {
		alone.Needed(t, "user namespaces: "+err.Error())
	}
	cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-c", `echo 0 >/proc/sys/user/max_net_namespaces && exec "$0" "$@"`, "tcpbench"}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	err = cmd.Run()
	return out.String(), complaints.String(), err
}

// Where no lab can be made a claim is shown on loopback, and the result says so and why.
func TestWithoutNamespacesOnLoopback(t *testing.T) {
	t.Parallel()
	out, complaints, err := without(t, "run", "mss", "--json")
	if err != nil {
		t.Fatalf("%v: %s", err, complaints)
	}
	r, err := metrics.Read(strings.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	if !r.Verdict.Reproduced || r.Lab != nil || r.Loopback == nil || !strings.Contains(r.Loopback.Why, "user.max_net_namespaces is 0") || r.Loopback.Server["TCP_MAXSEG"] != "700" {
		t.Errorf("%+v, %+v", r.Verdict, r.Loopback)
	}
	// What asks for a lab, or for what only one has, gets none.
	for _, args := range [][]string{{"run", "mss", "--where", "lab"}, {"run", "handshake"}, {"run", "mss", "--pcap", "x.pcap"}, {"run", "self-connect", "--realistic"}, {"run", "mss", "--bpf"}} {
		out, complaints, err := without(t, args...)
		var exit *exec.ExitError
		if !errors.As(err, &exit) || out != "" || complaints == "" {
			t.Errorf("%v: %v, stdout %q, stderr %q", args, err, out, complaints)
		}
		t.Logf("%v: %s", args, complaints)
	}
}
