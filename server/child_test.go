package server

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A limit of the process needs a process. The test binary runs itself with the
// role in its environment: the child serves, prints one line with its address,
// reads how many connections to wait for, stops and prints its counts.
const (
	childRole = "TCPBENCH_SERVER_TEST_ROLE"
	roleFew   = "few descriptors"
	roleNone  = "no descriptors" // the limit falls below what is open
)

const fewDescriptors = 64

type report struct {
	Stats Stats
	Err   string
}

func child(role string) int {
	limit := unix.Rlimit{Cur: fewDescriptors, Max: fewDescriptors}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s, err := Start(Config{Addrs: loopback(1), Loops: 2, Reserve: 20})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if role == roleNone {
		limit.Cur = 5
		unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	}
	fmt.Println(s.Addrs()[0])
	if role == roleNone {
		<-s.Done()
	} else {
		var n uint64
		fmt.Scan(&n)
		for began := time.Now(); s.Stats().Accepted < n && time.Since(began) < patience; {
			time.Sleep(time.Millisecond)
		}
	}
	var r report
	if err := s.Stop(context.Background()); err != nil {
		r.Err = err.Error()
	}
	r.Stats = s.Stats()
	if err := json.NewEncoder(os.Stdout).Encode(r); err != nil {
		return 1
	}
	return 0
}

// raise starts a child and returns its address and the rest of its life.
func raise(t *testing.T, role string) (addr string, finish func(accepted int) report) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childRole+"="+role, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatalf("the child says nothing: %v", cmd.Wait())
	}
	addr = lines.Text()
	return addr, func(accepted int) (r report) {
		t.Helper()
		fmt.Fprintln(in, accepted)
		in.Close()
		// Exactly one line more: gnet must not write to stdout.
		if !lines.Scan() {
			t.Fatal("the child does not report")
		}
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			t.Fatalf("%v in %q", err, lines.Text())
		}
		if lines.Scan() {
			t.Errorf("the child also says %q", lines.Text())
		}
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		return r
	}
}

func TestRefusesBeforeDescriptorsEnd(t *testing.T) {
	addr, finish := raise(t, roleFew)
	if strings.Contains(addr, "gnet") {
		t.Fatalf("gnet writes to stdout: %q", addr)
	}
	const n = 3 * fewDescriptors
	for range n {
		// The RST of a refusal may come before connect() is seen to succeed.
		c, err := net.Dial("tcp", addr)
		if isReset(err) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	r := finish(n)
	if r.Err != "" {
		t.Fatal(r.Err)
	}
	balanced(t, r.Stats)
	refused := r.Stats.Closed[Descriptors.String()]
	if refused < n-fewDescriptors || refused == n || r.Stats.Accepted != n {
		t.Errorf("%d of %d accepted are refused at a limit of %d", refused, r.Stats.Accepted, fewDescriptors)
	}
}

func TestEndOfALoopIsFatalAndNamed(t *testing.T) {
	addr, finish := raise(t, roleNone)
	if c, err := net.Dial("tcp", addr); err == nil {
		defer c.Close()
	}
	r := finish(0)
	balanced(t, r.Stats)
	if !strings.Contains(r.Err, "too many open files") || !strings.Contains(r.Err, "ulimit -n") {
		t.Errorf("the server ended with %q", r.Err)
	}
}
