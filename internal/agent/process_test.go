package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// manners are the lives of processes that a coordinator must be able to live with, by the name
// with which they are started.
var manners = map[string]func(socket *os.File) int{
	"dies":   func(*os.File) int { fmt.Fprintln(os.Stderr, "cannot go on"); return 3 },
	"panics": func(*os.File) int { panic("at the disco") },
	"floods": func(*os.File) int {
		fmt.Fprint(os.Stderr, "first words", strings.Repeat(" more", 1<<20))
		return 3
	},
	"halves": func(s *os.File) int {
		_, _ = io.WriteString(s, `{"type":"rea`)
		return 0
	},
	"silent": func(s *os.File) int {
		_, _ = io.Copy(io.Discard, s)
		return 0
	},
	"hangs up": func(s *os.File) int {
		s.Close()
		return stays()
	},
	"stubborn": func(s *os.File) int {
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
		_ = newPipe(s).Send(Message{Type: Ready})
		return stays()
	},
}

// stays never returns. With select{} the runtime could take the process for one in a deadlock.
func stays() int {
	for {
		_ = unix.Pause() // until a signal
	}
}

// spawn starts a process that lives like one of manners, or takes no role yet.
func spawn(t *testing.T, how string) (*Process, *Remote) {
	t.Helper()
	t.Parallel()
	conn, err := Processes{}.Start(how)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn.(*Process), newRemote(conn, how, nil)
}

// What a coordinator is told of a process that does not do its part.
func TestCoordinatorTellsHowAProcessEnded(t *testing.T) {
	t.Parallel()
	for how, want := range map[string]string{
		"dies":   `^dies \(process \d+\) ended: exit status 3: cannot go on$`,
		"panics": `^panics \(process \d+\) ended: exit status 2: panic: at the disco`,
		"floods": `^floods \(process \d+\) ended: exit status 3: first words more`,
		"halves": `^halves \(process \d+\) ended$`,
	} {
		t.Run(how, func(t *testing.T) {
			_, r := spawn(t, how)
			<-r.gone
			if !matches(r.why, want) {
				t.Errorf("error %v, want %q", r.why, want)
			}
			if len(r.why.Error()) > 2*headSize {
				t.Errorf("the error has %d bytes", len(r.why.Error()))
			}
		})
	}
}

// A question to a process that is dead already, so that sending fails.
func TestAskTheDead(t *testing.T) {
	p, r := spawn(t, "dies")
	<-p.exited
	if _, err := r.Sample(time.Minute, nil); !matches(err, `ended: exit status 3: cannot go on`) {
		t.Error(err)
	}
}

// One that fails before it is told anything more says why, although telling it fails.
func TestAgentThatFailedSaysWhy(t *testing.T) {
	r, _ := hire(t, Processes{})
	p := r.Process()
	if err := r.Tell("refuse"); err != nil {
		t.Fatal(err)
	}
	<-p.exited
	if _, err := r.Sample(time.Minute, nil); !matches(err, "^puppet: will not$") {
		t.Error(err)
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
}

func TestKilledFromOutside(t *testing.T) {
	r, _ := hire(t, Processes{})
	if err := r.signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if <-r.gone; !matches(r.why, `^puppet \(process \d+\) ended: signal: killed$`) {
		t.Error(r.why)
	}
	if err := r.Freeze(); err != nil { // there is nobody left to stop
		t.Error(err)
	}
}

// Signals that may reach all processes at once do not end an agent, and it has a process group
// of its own: the terminal's Ctrl-C is not for it.
func TestSignalsAreTheCoordinatorsBusiness(t *testing.T) {
	r, _ := hire(t, Processes{})
	pid := r.Process().PID()
	if group, err := syscall.Getpgid(pid); err != nil || group != pid {
		t.Errorf("process group %d of process %d, %v", group, pid, err)
	}
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if err := r.signal(s); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Sample(time.Minute, nil); err != nil {
			t.Fatal(err)
		}
	}
}

// Close kills what does not end by itself: one that ignores its end, one that closed its
// socket, one that is stopped.
func TestCloseKillsTheStubborn(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"stubborn", "hangs up", "stopped"} {
		t.Run(how, func(t *testing.T) {
			life := how
			if how == "stopped" {
				life = "silent"
			}
			p, r := spawn(t, life)
			switch how {
			case "stubborn":
				<-r.answers
			case "hangs up":
				if <-r.gone; !matches(r.why, `^hangs up \(process \d+\) closed its socket$`) {
					t.Error(r.why)
				}
			case "stopped":
				if err := r.Freeze(); err != nil {
					t.Fatal(err)
				}
			}
			p.Close()
			if err := syscall.Kill(p.PID(), 0); !errors.Is(err, syscall.ESRCH) {
				t.Errorf("after Close the process is there: %v", err)
			}
			if !matches(p.status, "signal: killed") {
				t.Errorf("it ended by %v", p.status)
			}
			p.Close() // again, as a timeout and the end of a run may both do
		})
	}
}

// Close ends a Receive under way, and the process sees the end although one was: it need not be
// killed.
func TestCloseEndsReceive(t *testing.T) {
	p, r := spawn(t, "silent")
	for deadline := time.Now().Add(30 * time.Second); !blocked("(*Process).Receive"); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("Receive does not wait")
		}
	}
	p.Close()
	<-r.gone
	if p.status != nil {
		t.Errorf("the process ended by %v", p.status)
	}
}

// blocked reports whether a goroutine waits for the kernel in that function.
func blocked(function string) bool {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for stack := range bytes.SplitSeq(stacks, []byte("\n\n")) {
		waits := bytes.Contains(stack, []byte("[IO wait")) || bytes.Contains(stack, []byte("[syscall"))
		if waits && bytes.Contains(stack, []byte(function)) {
			return true
		}
	}
	return false
}
