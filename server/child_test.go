package server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/internal/wire"
)

// A limit of the process needs a process. The test binary runs itself with the
// role in its environment: the child serves, prints one line with its address,
// reads how many connections to wait for, stops and prints its counts.
const (
	childRole = "TCPBENCH_SERVER_TEST_ROLE"
	roleFew   = "few descriptors"
	roleNone  = "no descriptors" // the limit falls below what is open, until accept() has failed
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
	fmt.Println(s.Addrs()[0])
	var n uint64
	fmt.Scan(&n)
	until := func(done func(Stats) bool) {
		for began := time.Now(); !done(s.Stats()) && time.Since(began) < patience; {
			time.Sleep(time.Millisecond)
		}
	}
	if role == roleNone {
		for _, limit.Cur = range []uint64{5, fewDescriptors} {
			if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
				fmt.Fprintln(os.Stderr, err)
				return 1
			}
			if limit.Cur == 5 {
				fmt.Println("no descriptors")
				until(func(s Stats) bool { return s.Unaccepted > 0 })
			}
		}
	}
	until(func(s Stats) bool {
		if role == roleNone {
			return s.Exchanges >= n
		}
		return s.Accepted >= n
	})
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

// offspring is a child and the two ends of its conversation.
type offspring struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    io.WriteCloser
	lines *bufio.Scanner
}

// raise starts a child and returns its address and the rest of its life.
func raise(t *testing.T, role string) (addr string, c *offspring) {
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
	c = &offspring{t, cmd, in, bufio.NewScanner(out)}
	return c.line(), c
}

func (c *offspring) line() string {
	c.t.Helper()
	if !c.lines.Scan() {
		c.t.Fatalf("the child says nothing: %v", c.cmd.Wait())
	}
	return c.lines.Text()
}

// await has the child wait until it has accepted so many connections, or, with roleNone,
// made so many exchanges.
func (c *offspring) await(n int) {
	fmt.Fprintln(c.in, n)
	c.in.Close()
}

// report is the end of the child.
func (c *offspring) report() (r report) {
	c.t.Helper()
	// Exactly one line more: gnet must not write to stdout.
	if err := json.Unmarshal([]byte(c.line()), &r); err != nil {
		c.t.Fatalf("%v in %q", err, c.lines.Text())
	}
	if c.lines.Scan() {
		c.t.Errorf("the child also says %q", c.lines.Text())
	}
	if err := c.cmd.Wait(); err != nil {
		c.t.Fatal(err)
	}
	return r
}

func TestRefusesBeforeDescriptorsEnd(t *testing.T) {
	addr, c := raise(t, roleFew)
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
	c.await(n)
	r := c.report()
	if r.Err != "" {
		t.Fatal(r.Err)
	}
	balanced(t, r.Stats)
	refused := r.Stats.Closed[Descriptors.String()]
	if refused < n-fewDescriptors || refused == n || r.Stats.Accepted != n {
		t.Errorf("%d of %d accepted are refused at a limit of %d", refused, r.Stats.Accepted, fewDescriptors)
	}
}

// Who understands it is told why, and who does not gets a RST as ever.
func TestTellsThatDescriptorsEnd(t *testing.T) {
	addr, child := raise(t, roleFew)
	const n = 3 * fewDescriptors
	told, reset := 0, 0
	for i := range n {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		script := wire.Script{RequestSize: 1, ResponseSize: 1, Refusals: i%3 > 0}
		write(t, c, opening(script))
		b := make([]byte, wire.HeaderSize)
		switch k, err := io.ReadAtLeast(c, b, 1); {
		case k == wire.HeaderSize && wire.ParseRefusal(b) == wire.NoDescriptors && script.Refusals:
			told++
		case k == 0 && isReset(err) && !script.Refusals:
			reset++
		case k != 1 || told+reset > 0:
			t.Errorf("connection %d, refusals %t: %x, %v", i, script.Refusals, b[:k], err)
		}
	}
	child.await(n)
	r := child.report()
	balanced(t, r.Stats)
	refused := r.Stats.Closed[Descriptors.String()]
	if uint64(told+reset) != refused || told < fewDescriptors || reset < fewDescriptors/2 {
		t.Errorf("%d told and %d reset of %d refused", told, reset, refused)
	}
}

// A limit that is reached in spite of all care, as fs.file-max may be by others: those who
// are connected stay so, and who waits for accept() is served when there are descriptors.
func TestAcceptGoesOn(t *testing.T) {
	addr, child := raise(t, roleNone)
	held, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	script := wire.Script{RequestSize: 1, ResponseSize: 1}
	write(t, held, opening(script))
	expect(t, held, 1)
	const late = 3
	const exchanges = 1 + 2*late
	child.await(exchanges)
	child.line()
	for range late {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		write(t, c, opening(script))
		expect(t, c, 1)
		write(t, held, []byte{0})
		expect(t, held, 1)
	}
	r := child.report()
	balanced(t, r.Stats)
	if r.Err != "" || r.Stats.Accepted != 1+late || r.Stats.Unaccepted == 0 {
		t.Errorf("%+v", r)
	}
}

func TestEndOfALoopIsFatalAndNamed(t *testing.T) {
	s, err := Start(Config{Addrs: loopback(1), Loops: 2})
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Shutdown(sockets(t, s.Addrs(), true)[0], unix.SHUT_RD); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Done():
	case <-time.After(patience):
		t.Error("the server goes on with a loop that accepts nothing")
	}
	if err := s.Stop(context.Background()); !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "accept") {
		t.Errorf("the server ended with %v", err)
	}
}
