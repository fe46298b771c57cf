package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"tcpbench/metrics"
)

// The test binary is tcpbench too, and its children: main asks agent.Invoked first. So
// what the scripts and tests run is the real program, under the race detector if the
// tests are.
func TestMain(m *testing.M) {
	testscript.Main(leakless{m}, map[string]func(){"tcpbench": main})
}

// leakless fails a run of tests that leaves goroutines behind.
type leakless struct{ *testing.M }

func (l leakless) Run() int {
	// The race detector lets a process that ends sleep for a second; there are hundreds.
	os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	// What runs in parallel waits for other processes and for the kernel's timers.
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	imported := goleak.IgnoreCurrent() // gnet starts some when it is imported
	code := l.M.Run()
	if err := goleak.Find(imported); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 filepath.Join("testdata", "script"),
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			f := &fixture{}
			env.Values[fixtureKey{}] = f
			env.Defer(f.close)
			env.Setenv("GORACE", os.Getenv("GORACE"))
			env.Setenv("TIMES", "6") // how often to try what depends on the moment
			if os.Getenv("CI") == "true" {
				env.Setenv("TIMES", "20")
			}
			return nil
		},
		Condition: condition,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await":     await,
			"accepted":  accepted,
			"code":      code,
			"echoes":    echoes,
			"exits":     exits,
			"flags":     flags,
			"occupied":  occupied,
			"result":    result,
			"signal":    signalLast,
			"tcpserver": tcpserver,
			"unused":    unused,
		},
	})
}

// fixture is what a script has started in the test process.
type fixture struct {
	server *foreign
	closed []func()
	last   *exec.Cmd // the background command that was sent a signal last
}

type fixtureKey struct{}

func of(ts *testscript.TestScript) *fixture { return ts.Value(fixtureKey{}).(*fixture) }

func (f *fixture) close() {
	for _, c := range f.closed {
		c()
	}
}

// condition: [bind] tells whether a script may mount files over others in a namespace
// of its own, [ipv6] whether there is an ::1.
func condition(name string) (bool, error) {
	switch name {
	case "bind":
		err := exec.Command("unshare", "-rm", "mount", "--bind", "/etc/hosts", "/etc/hosts").Run()
		if err != nil && os.Getenv("CI") == "true" {
			return false, fmt.Errorf("CI must have unshare and mount, and the right to use them: %w", err)
		}
		return err == nil, nil
	case "ipv6":
		l, err := net.Listen("tcp", "[::1]:0")
		if err != nil {
			return false, nil
		}
		return true, l.Close()
	}
	return false, fmt.Errorf("unknown condition %q", name)
}

// exits CODE COMMAND…: it ends with this exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

// signal SIGNAL: send it to the last command in the background.
func signalLast(ts *testscript.TestScript, neg bool, args []string) {
	signals := map[string]os.Signal{"INT": syscall.SIGINT, "TERM": syscall.SIGTERM}
	background := ts.BackgroundCmds()
	if neg || len(args) != 1 || signals[args[0]] == nil || len(background) == 0 {
		ts.Fatalf("usage: signal INT|TERM, with a command in the background")
	}
	of(ts).last = background[len(background)-1]
	ts.Check(of(ts).last.Process.Signal(signals[args[0]]))
}

// code CODE: with it ended the command that was sent a signal and waited for.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 || of(ts).last == nil || of(ts).last.ProcessState == nil {
		ts.Fatalf("usage: code CODE, after signal and wait")
	}
	if got := of(ts).last.ProcessState; strconv.Itoa(got.ExitCode()) != args[0] {
		ts.Fatalf("%v, want exit code %s", got, args[0])
	}
}

// patience bounds every wait of the tests for something that must happen.
const patience = 30 * time.Second

// eventually polls, for what gives no event.
func eventually(what string, ok func() bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: not within %v", what, patience)
		case <-ticker.C:
		}
	}
	return nil
}

// await accepted N: the tcpserver has accepted as many.
// await FILE REGEXP [VARIABLE]: the file matches; the first group goes into the variable.
func await(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: await accepted N, await FILE REGEXP [VARIABLE]")
	}
	if args[0] == "accepted" {
		n, err := strconv.ParseInt(args[1], 10, 64)
		ts.Check(err)
		ts.Check(eventually("accepted "+args[1], func() bool { return of(ts).server.accepted.Load() >= n }))
		return
	}
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	ts.Check(eventually(args[0]+" matches "+args[1], func() bool {
		content, err := os.ReadFile(ts.MkAbs(args[0]))
		match := pattern.FindSubmatch(content)
		if err == nil && match != nil && len(args) == 3 {
			ts.Setenv(args[2], string(match[1]))
		}
		return err == nil && match != nil
	}))
}

// accepted N: so many connections has the tcpserver accepted, no more and no fewer.
func accepted(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: accepted N")
	}
	if got := of(ts).server.accepted.Load(); strconv.FormatInt(got, 10) != args[0] {
		ts.Fatalf("the server accepted %d connections, want %s", got, args[0])
	}
}

// tcpserver MODE [HOST]: start a foreign server; its address is in $ADDR, its port in
// $PORT.
func tcpserver(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: tcpserver MODE [HOST]")
	}
	host := "127.0.0.1"
	if len(args) == 2 {
		host = args[1]
	}
	s, err := startForeign(args[0], host)
	ts.Check(err)
	of(ts).server = s
	of(ts).closed = append(of(ts).closed, s.close)
	setAddress(ts, s.listener.Addr())
}

func setAddress(ts *testscript.TestScript, a net.Addr) {
	ts.Setenv("ADDR", a.String())
	ts.Setenv("PORT", strconv.Itoa(a.(*net.TCPAddr).Port))
}

// echoes ADDRESS: who listens there sends back what it gets, also behind the client's FIN.
func echoes(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: echoes ADDRESS")
	}
	conn, err := net.Dial("tcp", args[0])
	ts.Check(err)
	defer conn.Close()
	sent := strings.Repeat("any bytes, \x00 too\n", 1000)
	_, err = io.WriteString(conn, sent)
	ts.Check(errors.Join(err, conn.(*net.TCPConn).CloseWrite()))
	got, err := io.ReadAll(conn)
	ts.Check(err)
	if string(got) != sent {
		ts.Fatalf("%d bytes came back of %d", len(got), len(sent))
	}
}

// occupied: someone listens on $ADDR, $PORT and never accepts.
func occupied(ts *testscript.TestScript, _ bool, _ []string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	of(ts).closed = append(of(ts).closed, func() { l.Close() })
	setAddress(ts, l.Addr())
}

// unused: nobody listens on $ADDR, $PORT; the range of ports that begins there is free.
func unused(ts *testscript.TestScript, _ bool, _ []string) {
	port := freePort(ts.Fatalf)
	ts.Setenv("ADDR", fmt.Sprintf("127.0.0.1:%d", port))
	ts.Setenv("PORT", strconv.Itoa(port))
	ts.Setenv("LASTPORT", strconv.Itoa(port+portsEach-1))
}

// flags COMMAND…: stdout, the help of that command, lists every flag that it has.
func flags(ts *testscript.TestScript, neg bool, args []string) {
	c, rest, err := newRoot().Find(args)
	ts.Check(err)
	if neg || len(rest) > 0 || len(args) == 0 {
		ts.Fatalf("usage: flags COMMAND…")
	}
	help := ts.ReadFile("stdout")
	for _, name := range flagNames(c) {
		if !strings.Contains(help, "--"+name+" ") {
			ts.Fatalf("the help does not list --%s", name)
		}
	}
}

// result FILE CONDITION…: FILE is one valid result document whose counts balance, and
//
//	PATH           is there, and neither zero nor empty
//	!PATH          is not there, or zero or empty
//	PATH=TEXT      is that; elements of a list stand with commas
//	PATH>NUMBER    is a number above
//
// A PATH has words with slashes between; an element of a list goes by its name field.
func result(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: result FILE CONDITION…")
	}
	text := ts.ReadFile(args[0])
	if _, err := metrics.Read(strings.NewReader(text)); err != nil {
		ts.Fatalf("%v", err)
	}
	var document any
	ts.Check(json.Unmarshal([]byte(text), &document)) // nothing but one document
	for _, c := range args[1:] {
		if !holds(document, c) {
			path := strings.TrimLeft(c[:strings.IndexAny(c+"=", "=>")], "!")
			ts.Fatalf("not %s: it is %v", c, printed(lookup(document, path)))
		}
	}
}

func holds(document any, condition string) bool {
	if path, want, ok := strings.Cut(condition, "="); ok {
		return printed(lookup(document, path)) == want
	}
	if path, want, ok := strings.Cut(condition, ">"); ok {
		limit, err := strconv.ParseFloat(want, 64)
		got, isNumber := lookup(document, path).(float64)
		return err == nil && isNumber && got > limit
	}
	path, negated := strings.CutPrefix(condition, "!")
	switch text := printed(lookup(document, path)); text {
	case "", "0", "<nil>", "false":
		return negated
	default:
		return !negated
	}
}

func lookup(v any, path string) any {
	for word := range strings.SplitSeq(path, "/") {
		switch parent := v.(type) {
		case map[string]any:
			v = parent[word]
		case []any:
			v = nil
			for _, element := range parent {
				if m, ok := element.(map[string]any); ok && m["name"] == word {
					v = element
				}
			}
		default:
			return nil
		}
	}
	return v
}

func printed(v any) string {
	switch v := v.(type) {
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case []any:
		var parts []string
		for _, element := range v {
			parts = append(parts, printed(element))
		}
		return strings.Join(parts, ",")
	case map[string]any:
		if len(v) == 0 {
			return ""
		}
	}
	return fmt.Sprint(v)
}
