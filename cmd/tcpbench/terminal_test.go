package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"tcpbench/loadgen"
	"tcpbench/metrics"
	"tcpbench/scenarios"
	"tcpbench/scenarios/stage"
)

// tty is a pseudo-terminal: what a program writes to it, and the keys of its user.
type tty struct {
	t             *testing.T
	master, slave *os.File
	ended         chan struct{}
	mu            sync.Mutex
	screen        bytes.Buffer
}

func newTTY(t *testing.T, columns uint16) *tty {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := master.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var number int
	var failed error
	err = raw.Control(func(fd uintptr) {
		unlock := unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0)
		size := unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns})
		number, failed = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		failed = errors.Join(unlock, size, failed)
	})
	if err = errors.Join(err, failed); err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	y := &tty{t: t, master: master, slave: slave, ended: make(chan struct{})}
	go y.read()
	t.Cleanup(func() {
		y.slave.Close()
		y.master.Close()
		<-y.ended
	})
	return y
}

// read ends with EIO, once nobody has the other side open.
func (y *tty) read() {
	defer close(y.ended)
	b := make([]byte, 4096)
	for {
		n, err := y.master.Read(b)
		y.mu.Lock()
		y.screen.Write(b[:n])
		y.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (y *tty) text() string {
	y.mu.Lock()
	defer y.mu.Unlock()
	return y.screen.String()
}

func (y *tty) await(pattern string) {
	y.t.Helper()
	shown := func() bool { return regexp.MustCompile(pattern).MatchString(y.text()) }
	if err := eventually("the terminal shows "+pattern, shown); err != nil {
		y.t.Fatalf("%v; it shows %q", err, y.text())
	}
}

func (y *tty) press(keys string) {
	y.t.Helper()
	if _, err := io.WriteString(y.master, keys); err != nil {
		y.t.Fatal(err)
	}
}

// start runs tcpbench with the terminal as its controlling one, and as those of its
// outputs that have no writer.
func (y *tty) start(stdout, stderr io.Writer, env []string, args ...string) *exec.Cmd {
	y.t.Helper()
	cmd := exec.CommandContext(y.t.Context(), "tcpbench", args...)
	cmd.Env = append(os.Environ(), "TERM=xterm", "NO_COLOR=")
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = y.slave, stdout, stderr
	if stdout == nil {
		cmd.Stdout = y.slave
	}
	if stderr == nil {
		cmd.Stderr = y.slave
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		y.t.Fatal(err)
	}
	return cmd
}

// finish waits for the end of the program and of what it has written.
func (y *tty) finish(cmd *exec.Cmd, code int) string {
	y.t.Helper()
	_ = cmd.Wait() // the code says more
	if got := cmd.ProcessState.ExitCode(); got != code {
		y.t.Errorf("%v, want exit code %d", cmd.ProcessState, code)
	}
	y.slave.Close()
	<-y.ended
	return y.text()
}

var (
	color      = regexp.MustCompile(`\x1b\[[0-9;]*m`)
	progressOf = regexp.MustCompile(`measuring +0:`)
)

const redraw = "\r\x1b[K"

// widestLine is the length of the longest line as it stands on the terminal, one that was
// drawn anew in its place included.
func widestLine(screen string) (widest int) {
	screen = color.ReplaceAllString(screen, "")
	for line := range strings.SplitSeq(strings.ReplaceAll(screen, redraw, "\n"), "\n") {
		widest = max(widest, utf8.RuneCountInString(strings.TrimRight(line, "\r")))
	}
	return widest
}

// On a terminal: a line that moves and goes, colours, and no line wider than the window.
// A Ctrl-C reaches the run through the terminal, and the children do not.
func TestTerminalShowsProgressAndColor(t *testing.T) {
	t.Parallel()
	for _, columns := range []uint16{80, 64, 120} {
		y := newTTY(t, columns)
		cmd := y.start(nil, nil, nil, "run", "short", "--duration", "1h", "--warmup", "0s")
		// The first row has come when the line has numbers of it.
		y.await(`measuring +0:\d\d/1:00:00 .*[1-9][0-9,]*/s`)
		y.press("\x03")
		screen := y.finish(cmd, exitSignal+int(syscall.SIGINT))
		if n := widestLine(screen); n > int(columns) {
			t.Errorf("a line has %d columns on a terminal of %d:\n%s", n, columns, screen)
		}
		before, summary, ok := cutLast(screen, redraw)
		if !ok || progressOf.MatchString(summary) || !strings.HasPrefix(color.ReplaceAllString(summary, ""), "short · closed") {
			t.Errorf("behind the progress line stands %q", summary)
		}
		if color.MatchString(before) || !color.MatchString(summary) {
			t.Errorf("colours in the progress line, or none in the summary: %q", screen)
		}
		if !strings.Contains(summary, "interrupted") {
			t.Errorf("the summary does not tell of the interruption: %q", summary)
		}
	}
}

func cutLast(s, separator string) (before, after string, found bool) {
	i := strings.LastIndex(s, separator)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(separator):], true
}

func TestTerminalWithoutColor(t *testing.T) {
	t.Parallel()
	for _, env := range []string{"NO_COLOR=1", "TERM=dumb"} {
		y := newTTY(t, 80)
		screen := y.finish(y.start(nil, nil, []string{env}, "run", "short", "--count", "50"), exitFine)
		if color.MatchString(screen) || !strings.Contains(screen, "succeeded") {
			t.Errorf("with %s the terminal shows %q", env, screen)
		}
	}
	y := newTTY(t, 80) // no-color.org: an empty one is none
	if screen := y.finish(y.start(nil, nil, []string{"NO_COLOR="}, "run", "short", "--count", "50"), exitFine); !color.MatchString(screen) {
		t.Errorf("with an empty NO_COLOR the terminal shows %q", screen)
	}
}

// Each output is judged by itself: a document in a pipe stays clean while the terminal
// shows progress, and nothing moves where stderr is no terminal.
func TestTerminalOfOneOutput(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	y := newTTY(t, 80)
	cmd := y.start(&stdout, nil, nil, "run", "short", "--duration", "1h", "--warmup", "0s", "--format", "json")
	y.await(progressOf.String())
	y.press("\x03")
	y.finish(cmd, exitSignal+int(syscall.SIGINT))
	if r, err := metrics.Read(&stdout); err != nil || !r.Flagged("interrupted") {
		t.Errorf("%v in %s", err, stdout.String())
	}

	y = newTTY(t, 80)
	screen := y.finish(y.start(nil, &stderr, nil, "run", "short", "--duration", "600ms", "--warmup", "0s"), exitFine)
	if stderr.Len() > 0 || strings.Contains(screen, redraw) || !color.MatchString(screen) {
		t.Errorf("stderr has %q, the terminal shows %q", stderr.String(), screen)
	}
}

func TestTerminalStaysStill(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ env, flag string }{{"TERM=xterm", "--quiet"}, {"TERM=dumb", "--quiet=false"}} {
		y := newTTY(t, 80)
		cmd := y.start(nil, nil, []string{c.env}, "run", "short", c.flag, "--duration", "600ms", "--warmup", "0s")
		if screen := y.finish(cmd, exitFine); strings.Contains(screen, redraw) || !strings.Contains(screen, "succeeded") {
			t.Errorf("with %s %s the terminal shows %q", c.env, c.flag, screen)
		}
	}
}

// While a population opens the line tells how fast: none of it ends within the measured time.
func TestProgressOfAHeldPopulation(t *testing.T) {
	for hold, want := range map[time.Duration]string{0: "0/s", time.Minute: "5,000/s"} {
		var screen bytes.Buffer
		p := &progress{w: &screen}
		o := p.observer()
		o.Phase(&scenarios.PhasePlan{Plan: stage.Plan{Client: loadgen.Config{HoldFor: hold}}})
		o.Period(loadgen.Measuring)
		o.Row(metrics.Row{T: 1, Attempted: 5000, InFlight: 5000})
		p.draw()
		if !strings.Contains(screen.String(), " "+want+" ") {
			t.Errorf("held for %v: %q, want %s", hold, screen.String(), want)
		}
	}
}
