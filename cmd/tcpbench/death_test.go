package main

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/metrics"
)

// victim is a run under way, with a server of its own, whose processes can be found.
type victim struct {
	t              *testing.T
	cmd            *exec.Cmd
	mark           string
	port           int
	stdout, stderr bytes.Buffer
}

var victims atomic.Int64

func startVictim(t *testing.T, args ...string) *victim {
	t.Helper()
	v := &victim{t: t, mark: fmt.Sprintf("TCPBENCH_TEST=%d.%d", os.Getpid(), victims.Add(1)), port: freePort(t.Fatalf)}
	args = append([]string{"run", "short", "--ports", strconv.Itoa(v.port), "--warmup", "0s", "--rate", "500", "--stay", "20ms"}, args...) // some are open whenever one looks
	v.cmd = exec.CommandContext(t.Context(), "tcpbench", args...)
	v.cmd.Env = append(os.Environ(), v.mark)
	v.cmd.Stdout, v.cmd.Stderr = &v.stdout, &v.stderr
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v *victim) pid() int { return v.cmd.Process.Pid }

// children are the processes of the run that are children by their argument: one that is
// forked and not yet executed still looks like the coordinator, and has its sockets.
func (v *victim) children() []int {
	return slices.DeleteFunc(marked(v.mark), func(pid int) bool {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		return err != nil || !bytes.Contains(line, []byte("internal-agent"))
	})
}

func (v *victim) await(what string, ok func() bool) {
	v.t.Helper()
	if err := eventually(what, ok); err != nil {
		v.t.Fatalf("%v; stderr: %s", err, &v.stderr)
	}
}

// sides waits until a connection has ended well: the client had its socket, and has it no
// more, while the server is there.
func (v *victim) sides() (server, client int) {
	v.t.Helper()
	seen := map[string]bool{}
	v.await("a connection has ended", func() bool {
		children := v.children()
		if len(children) != 2 {
			return false
		}
		// The server listens before the client is started.
		slices.SortFunc(children, func(a, b int) int { return cmp.Or(cmp.Compare(born(a), born(b)), cmp.Compare(a, b)) })
		server, client = children[0], children[1]
		open := sockets(client)
		for socket := range seen {
			if len(open) > 0 && !slices.Contains(open, socket) {
				return true
			}
		}
		for _, socket := range open {
			seen[socket] = true
		}
		return false
	})
	return server, client
}

func (v *victim) kill(pid int, s syscall.Signal) {
	v.t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		v.t.Fatalf("kill %d: %v", pid, err)
	}
}

// end waits for the coordinator. Its children inherit none of the pipes that Wait waits
// for, so it does not wait for them.
func (v *victim) end() *os.ProcessState {
	_ = v.cmd.Wait() // the state says more
	return v.cmd.ProcessState
}

// gone tells that nothing is left of the run.
func (v *victim) gone() {
	v.t.Helper()
	v.await("all processes are gone", func() bool { return len(marked(v.mark)) == 0 })
	v.await("the server's port is free", func() bool { return isFree(v.port, 1) })
}

// However the coordinator dies, and wherever it is, its children die with it.
func TestChildrenDieWithTheCoordinator(t *testing.T) {
	t.Parallel()
	ways := []syscall.Signal{syscall.SIGKILL, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGABRT}
	for i := range 12 {
		way := ways[max(0, i-8)] // SIGKILL most of the time: it leaves no chance to tidy up
		moment := time.Duration(rand.Int64N(int64(400 * time.Millisecond)))
		v := startVictim(t, "--duration", "1h")
		switch i {
		case 0:
			moment = 0 // before it has done anything
		case 1, 2, 3:
			v.await("a child is there", func() bool { return len(v.children()) >= min(i, 2) })
			moment /= 20
		case 4:
			v.sides()
			moment = 0
		case 5: // so that no socket closes with it, and only the kernel can tell the children
			v.sides()
			defer hold(t, v.pid())()
			moment = 0
		}
		<-time.After(moment)
		v.kill(v.pid(), way)
		if state := v.end(); state.Success() {
			t.Errorf("%v after %v: %v", way, moment, state)
		}
		v.gone()
		if t.Failed() {
			t.Fatalf("round %d, %v after %v", i, way, moment)
		}
	}
}

// hold keeps the sockets of a process open beyond its end.
func hold(t *testing.T, pid int) (release func()) {
	t.Helper()
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		t.Fatal(os.NewSyscallError("pidfd_open", err))
	}
	held := []int{process}
	for fd := range 64 {
		if to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", pid, fd)); err != nil || !strings.HasPrefix(to, "socket:") {
			continue
		}
		own, err := unix.PidfdGetfd(process, fd, 0)
		if err != nil {
			t.Fatal(os.NewSyscallError("pidfd_getfd", err))
		}
		held = append(held, own)
	}
	if len(held) < 3 {
		t.Fatalf("process %d has %d sockets", pid, len(held)-1)
	}
	return func() {
		for _, fd := range held {
			_ = unix.Close(fd)
		}
	}
}

// A server that dies in the middle costs its connections and no more: the run goes on,
// counts, and says that it cannot be believed.
func TestServerKilled(t *testing.T) {
	t.Parallel() // it waits for the end of its time
	out := filepath.Join(t.TempDir(), "result.json")
	v := startVictim(t, "--duration", "3s", "--format", "json", "--out", out)
	server, _ := v.sides()
	v.kill(server, syscall.SIGKILL)
	if code := v.end().ExitCode(); code != exitFailed {
		t.Errorf("exit code %d, want %d; stderr: %s", code, exitFailed, &v.stderr)
	}
	r, err := metrics.Read(&v.stdout)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Flagged("server-lost") || r.Succeeded == 0 || r.TotalFailed() == 0 || r.Server != nil {
		t.Errorf("%d succeeded, failed %v, server %v, flags %v", r.Succeeded, r.Failed, r.Server, r.Flags)
	}
	for name := range r.Failed {
		if !slices.Contains([]string{"connect.refused", "exchange.reset", "exchange.closed_early"}, name) {
			t.Errorf("a dead server causes %s", name)
		}
	}
	if r.ElapsedS < 2.9 {
		t.Errorf("the run ended after %v s", r.ElapsedS)
	}
	why := regexp.MustCompile(fmt.Sprintf(`server \(process %d\) ended: signal: killed`, server))
	if !slices.ContainsFunc(r.Flags, func(f metrics.Flag) bool { return why.MatchString(f.Why) }) {
		t.Errorf("no flag says %q: %v", why, r.Flags)
	}
	if _, err := os.Stat(out); err != nil {
		t.Error(err)
	}
	v.gone()
}

// Without a client there is no result, and the error names it.
func TestClientKilled(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "result.json")
	v := startVictim(t, "--duration", "1h", "--out", out)
	_, client := v.sides()
	v.kill(client, syscall.SIGKILL)
	if code := v.end().ExitCode(); code != exitFailed {
		t.Errorf("exit code %d, want %d", code, exitFailed)
	}
	want := fmt.Sprintf("tcpbench: client (process %d) ended: signal: killed\n", client)
	if v.stdout.Len() > 0 || v.stderr.String() != want {
		t.Errorf("stdout %q, stderr %q, want %q", &v.stdout, &v.stderr, want)
	}
	if _, err := os.Stat(out); err == nil {
		t.Error("a result was saved of a run that has none")
	}
	v.gone()
}

// SIGTERM to every process, as killall and systemd send it: the coordinator alone ends the
// run, and the result is whole.
func TestTerminatedTogether(t *testing.T) {
	t.Parallel()
	v := startVictim(t, "--duration", "1h", "--format", "json")
	server, client := v.sides()
	for _, pid := range []int{server, client, v.pid()} {
		v.kill(pid, syscall.SIGTERM)
	}
	if code := v.end().ExitCode(); code != exitSignal+int(syscall.SIGTERM) {
		t.Errorf("exit code %d, want %d; stderr: %s", code, exitSignal+int(syscall.SIGTERM), &v.stderr)
	}
	r, err := metrics.Read(&v.stdout)
	if err != nil {
		t.Fatal(err)
	}
	if !r.Flagged("interrupted") || r.Flagged("server-lost") || r.Succeeded == 0 {
		t.Errorf("%d succeeded, flags %v", r.Succeeded, r.Flags)
	}
	v.gone()
}

// A second Ctrl-C ends a run that would not end: here the client hangs, so that the
// first one cannot do it.
func TestSecondInterruptEndsAtOnce(t *testing.T) {
	t.Parallel()
	v := startVictim(t, "--duration", "1h")
	_, client := v.sides()
	v.kill(client, syscall.SIGSTOP)
	ended := make(chan *os.ProcessState)
	go func() { ended <- v.end() }()
	again := time.NewTicker(50 * time.Millisecond) // two that come together are one
	defer again.Stop()
	var state *os.ProcessState
	for state == nil {
		select {
		case state = <-ended:
		case <-again.C:
			_ = v.cmd.Process.Signal(syscall.SIGINT) // it may have ended just now
		}
	}
	if status := state.Sys().(syscall.WaitStatus); !status.Signaled() || status.Signal() != syscall.SIGINT {
		t.Errorf("%v, want an end by SIGINT", state)
	}
	if v.stdout.Len() > 0 {
		t.Errorf("stdout %q", &v.stdout)
	}
	v.gone()
}

// A server that hangs does not hang the run.
func TestServerHangs(t *testing.T) {
	t.Parallel()
	v := startVictim(t, "--duration", "3s", "--timeout", "200ms", "--format", "json")
	server, _ := v.sides()
	v.kill(server, syscall.SIGSTOP)
	if code := v.end().ExitCode(); code != exitFailed {
		t.Errorf("exit code %d, want %d; stderr: %s", code, exitFailed, &v.stderr)
	}
	r, err := metrics.Read(&v.stdout)
	if err != nil {
		t.Fatal(err)
	}
	if r.Failed["exchange.timeout"] == 0 {
		t.Errorf("failed %v", r.Failed)
	}
	why := fmt.Sprintf("server (process %d) gave no answer within ", server)
	if !slices.ContainsFunc(r.Flags, func(f metrics.Flag) bool { return f.Name == "server-lost" && strings.Contains(f.Why, why) }) {
		t.Errorf("no flag says %q: %v", why, r.Flags)
	}
	v.gone()
}
