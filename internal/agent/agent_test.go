package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
	"tcpbench/metrics"
	"tcpbench/server"
)

// manner is the variable that makes a child of this test binary another than a real one.
const manner = "TCPBENCH_TEST_CHILD"

// manners are the lives of children that a coordinator must be able to live with.
var manners = map[string]func(socket *os.File) int{
	"dies":   func(*os.File) int { fmt.Fprintln(os.Stderr, "cannot go on"); return 3 },
	"panics": func(*os.File) int { panic("at the disco") },
	"floods": func(*os.File) int {
		fmt.Fprint(os.Stderr, "first words", strings.Repeat(" more", 1<<20))
		return 3
	},
	"babbles": func(s *os.File) int { return talk(s, "Hello!\n") },
	"silent":  func(s *os.File) int { return talk(s, "") },
	"halves": func(s *os.File) int {
		_, _ = io.WriteString(s, `{"type":"rea`)
		return 0
	},
	"empties": func(s *os.File) int { return talk(s, `{"type":"done"}`+"\n") },
	"fails":   func(s *os.File) int { return talk(s, `{"type":"failed","error":"no luck"}`+"\n") },
	"hurries": func(s *os.File) int { return talk(s, `{"type":"interval","interval":{}}`+"\n") },
	"hangs up": func(s *os.File) int {
		s.Close()
		select {}
	},
	"stubborn": func(s *os.File) int {
		signal.Ignore(syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
		_ = NewConn(s).Send(Message{Type: Ready})
		select {}
	},
}

// talk says something and waits for the coordinator's end.
func talk(s *os.File, words string) int {
	_, _ = io.WriteString(s, words)
	_, _ = io.Copy(io.Discard, s)
	return 0
}

func TestMain(m *testing.M) {
	if Invoked() {
		if live := manners[os.Getenv(manner)]; live != nil {
			os.Exit(live(os.NewFile(inherited, "coordinator")))
		}
		os.Exit(Main())
	}
	// The race detector lets a process that ends sleep for a second.
	os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE"))
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent()) // gnet starts some when it is imported
}

func spawn(t *testing.T, how string) *Process {
	t.Helper()
	t.Setenv(manner, how)
	p, err := Spawn("server", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func ask(t *testing.T, p *Process, m Message, answer Type) Message {
	t.Helper()
	got, err := p.Ask(m, answer)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

var serverConfig = server.Config{
	Addrs: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}, Loops: 1,
	MaxRequest: 100, MaxResponse: 100,
}

func clientConfig(target netip.AddrPort) loadgen.Config {
	return loadgen.Config{
		Targets: []netip.AddrPort{target}, Process: pace.Closed, Connections: 4, Count: 40, Loops: 1,
		Timeout: 10 * time.Second, OnExhausted: loadgen.CountExhausted,
		Lifecycle: loadgen.Scripted(wire.Script{Exchanges: 1, RequestSize: 1, ResponseSize: 1}),
	}
}

// A whole run in messages: both sides count the same, and end in order.
func TestClientAndServer(t *testing.T) {
	s, c := spawn(t, ""), spawn(t, "")
	ready := ask(t, s, Message{Type: Prepare, Server: &serverConfig}, Ready)
	if len(ready.Addrs) != 1 || ready.Addrs[0].Port() == 0 {
		t.Fatalf("the server listens on %v", ready.Addrs)
	}
	cfg := clientConfig(ready.Addrs[0])
	ask(t, c, Message{Type: Prepare, Client: &cfg}, Ready)
	before := ask(t, s, Message{Type: Sample}, Sampled).Usage
	if before.Server == nil || before.Server.Accepted != 0 || before.UserNS+before.SystemNS == 0 || before.MaxRSS == 0 {
		t.Errorf("before the run: %+v", before)
	}
	if err := c.Send(Message{Type: Start}); err != nil {
		t.Fatal(err)
	}
	var phases []loadgen.Phase
	var attempted uint64
	var report *metrics.ClientReport
	for report == nil {
		switch m, err := c.Receive(); {
		case err != nil:
			t.Fatal(err)
		case m.Type == Phase:
			phases = append(phases, m.Phase)
		case m.Type == Interval:
			attempted += m.Interval.Attempted
		case m.Type == Done:
			report = m.Report
		default:
			t.Fatalf("the client says %q", m.Type)
		}
	}
	if report.Attempted != cfg.Count || report.Succeeded != cfg.Count || attempted != cfg.Count {
		t.Errorf("%+v, %d attempted in the intervals; want %d of all", report.Tally, attempted, cfg.Count)
	}
	if fmt.Sprint(phases) != "[measuring draining]" {
		t.Errorf("phases %v", phases)
	}
	if err := s.Send(Message{Type: Stop}); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*Process{s, c} {
		p.Close()
		if p.status != nil {
			t.Errorf("a child that was told to stop: %v", p.status)
		}
	}
}

// What a server counts before the warm-up is over it tells apart, whenever that is.
func TestMarkEndsTheWarmUp(t *testing.T) {
	for name, at := range map[string]func() time.Time{
		"now":   func() time.Time { return time.Time{} },
		"later": func() time.Time { return time.Now().Add(20 * time.Millisecond) },
	} {
		t.Run(name, func(t *testing.T) {
			s := spawn(t, "")
			target := ask(t, s, Message{Type: Prepare, Server: &serverConfig}, Ready).Addrs[0]
			connect := func(n int) (all []net.Conn) {
				for range n {
					c, err := net.Dial("tcp", target.String())
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { c.Close() })
					all = append(all, c)
				}
				return all
			}
			await := func(what string, yes func(*metrics.ServerReport) bool) *metrics.ServerReport {
				t.Helper()
				for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
					r := ask(t, s, Message{Type: Sample}, Sampled).Usage.Server
					if yes(r) {
						return r
					}
					if time.Now().After(deadline) {
						t.Fatalf("no %s within a minute: %+v", what, r)
					}
				}
			}
			early := connect(3)
			await("3 to be accepted", func(r *metrics.ServerReport) bool { return r.Accepted == 3 && r.WarmUp == nil })
			if err := s.Send(Message{Type: Mark, At: at()}); err != nil {
				t.Fatal(err)
			}
			await("the end of the warm-up", func(r *metrics.ServerReport) bool {
				return r.Accepted == 0 && r.WarmUp != nil && r.WarmUp.Accepted == 3
			})
			connect(2)
			early[0].Close()
			r := await("2 to be accepted, and 1 closed", func(r *metrics.ServerReport) bool { return r.Accepted == 2 && r.Open == 4 })
			if r.WarmUp.Open != 3 || r.Closed["unused"] != 1 || r.Balance() != nil {
				t.Errorf("%+v after %+v", r, r.WarmUp)
			}
		})
	}
}

// Stop ends a client in the middle, and the report is of what it has done.
func TestStop(t *testing.T) {
	s, c := spawn(t, ""), spawn(t, "")
	cfg := clientConfig(ask(t, s, Message{Type: Prepare, Server: &serverConfig}, Ready).Addrs[0])
	cfg.Count, cfg.Duration = 0, time.Hour
	ask(t, c, Message{Type: Prepare, Client: &cfg}, Ready)
	for _, m := range []Type{Start, Sample} {
		if err := c.Send(Message{Type: m}); err != nil {
			t.Fatal(err)
		}
	}
	var sampled, measuring bool
	for !sampled || !measuring {
		m, err := c.Receive()
		if err != nil {
			t.Fatal(err)
		}
		sampled = sampled || m.Type == Sampled
		measuring = measuring || m.Type == Phase && m.Phase == loadgen.Measuring
	}
	if err := c.Send(Message{Type: Stop}); err != nil {
		t.Fatal(err)
	}
	for {
		m, err := c.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if m.Type == Done {
			if m.Report.Stopped == "" || m.Report.Balance() != nil {
				t.Errorf("stopped %q, %v", m.Report.Stopped, m.Report.Balance())
			}
			return
		}
	}
}

// A child that cannot do what it is told says why. One that is told nonsense does, too.
func TestChildRefuses(t *testing.T) {
	occupied := serverConfig
	occupied.Addrs = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.1:0")} // of no host
	aimless := clientConfig(netip.AddrPort{})
	aimless.Targets = nil
	good := clientConfig(netip.MustParseAddrPort("127.0.0.1:9"))
	for _, tt := range []struct {
		name string
		say  []Message
		want string
	}{
		{"no such address", []Message{{Type: Prepare, Server: &occupied}}, "server: listen on 192.0.2.1:0: .*cannot assign"},
		{"no target", []Message{{Type: Prepare, Client: &aimless}, {Type: Start}}, "no target"},
		{"start before prepare", []Message{{Type: Start}}, `said "start" before prepare`},
		{"an unknown word", []Message{{Type: "dance"}}, `said "dance" before prepare`},
		{"no word", []Message{{}}, `said "" before prepare`},
		{"prepare for nothing", []Message{{Type: Prepare}}, `"prepare" without its content`},
		{"prepare for both", []Message{{Type: Prepare, Client: &good, Server: &serverConfig}}, `"prepare" without its content`},
		{"a client that is not to start", []Message{{Type: Prepare, Client: &good}, {Type: "dance"}}, `said "dance" before start`},
		{"a server that is to dance", []Message{{Type: Prepare, Server: &serverConfig}, {Type: "dance"}}, `said "dance" to a server`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := spawn(t, "")
			for _, m := range tt.say {
				if err := p.Send(m); err != nil {
					t.Fatal(err)
				}
			}
			var err error
			for err == nil { // some is ready first
				_, err = p.Receive()
			}
			if !matches(err, tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			p.Close()
			if code := p.cmd.ProcessState.ExitCode(); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
		})
	}
}

func TestClientRefusesNonsenseInTheMiddle(t *testing.T) {
	s, c := spawn(t, ""), spawn(t, "")
	cfg := clientConfig(ask(t, s, Message{Type: Prepare, Server: &serverConfig}, Ready).Addrs[0])
	cfg.Count, cfg.Duration = 0, time.Hour
	ask(t, c, Message{Type: Prepare, Client: &cfg}, Ready)
	for _, m := range []Type{Start, "dance"} {
		if err := c.Send(Message{Type: m}); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	for err == nil {
		_, err = c.Receive()
	}
	if !matches(err, `said "dance" in the middle of a run`) {
		t.Error(err)
	}
}

// What a coordinator is told of a child that does not do its part.
func TestCoordinatorTellsHowAChildEnded(t *testing.T) {
	for how, want := range map[string]string{
		"dies":    `^server \(process \d+\) ended: exit status 3: cannot go on$`,
		"panics":  `^server \(process \d+\) ended: exit status 2: panic: at the disco`,
		"floods":  `^server \(process \d+\) ended: exit status 3: first words more`,
		"halves":  `^server \(process \d+\) ended$`,
		"babbles": `^server: receive: invalid character 'H'`,
		"empties": `^server: receive: "done" without its content$`,
		"fails":   `^server: no luck$`,
		"hurries": `^server: said "interval", expected "ready"$`,
	} {
		t.Run(how, func(t *testing.T) {
			p := spawn(t, how)
			_, err := p.Expect(Ready)
			if !matches(err, want) {
				t.Errorf("error %v, want %q", err, want)
			}
			if err != nil && len(err.Error()) > 2*headSize {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

// A question to a child that is dead already, so that sending fails.
func TestAskTheDead(t *testing.T) {
	p := spawn(t, "dies")
	<-p.exited
	if _, err := p.Ask(Message{Type: Sample}, Sampled); !matches(err, `ended: exit status 3: cannot go on`) {
		t.Error(err)
	}
}

func TestKilledFromOutside(t *testing.T) {
	p := spawn(t, "")
	ask(t, p, Message{Type: Prepare, Server: &serverConfig}, Ready)
	if err := syscall.Kill(p.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Receive(); !matches(err, `ended: signal: killed$`) {
		t.Error(err)
	}
}

// Signals that may reach all processes at once do not end a child.
func TestSignalsAreTheCoordinatorsBusiness(t *testing.T) {
	p := spawn(t, "")
	ask(t, p, Message{Type: Prepare, Server: &serverConfig}, Ready)
	for _, s := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		if err := syscall.Kill(p.PID(), s); err != nil {
			t.Fatal(err)
		}
		ask(t, p, Message{Type: Sample}, Sampled)
	}
}

// A child has a process group of its own: the terminal's Ctrl-C is not for it.
func TestProcessGroup(t *testing.T) {
	p := spawn(t, "silent")
	group, err := syscall.Getpgid(p.PID())
	if err != nil || group != p.PID() {
		t.Errorf("process group %d of process %d, %v", group, p.PID(), err)
	}
}

// Close kills what does not end by itself: one that ignores its end, one that stopped
// listening, one that is stopped.
func TestCloseKillsTheStubborn(t *testing.T) {
	for _, how := range []string{"stubborn", "hangs up", "stopped"} {
		t.Run(how, func(t *testing.T) {
			life := how
			if how == "stopped" {
				life = "silent"
			}
			p := spawn(t, life)
			switch how {
			case "stubborn":
				if _, err := p.Expect(Ready); err != nil {
					t.Fatal(err)
				}
			case "hangs up":
				if _, err := p.Expect(Ready); !matches(err, "^server closed its socket$") {
					t.Error(err)
				}
			case "stopped":
				if err := syscall.Kill(p.PID(), syscall.SIGSTOP); err != nil {
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

// A child that says nothing is waited for as long as is said, and named.
func TestSilentChildIsNamed(t *testing.T) {
	p := spawn(t, "silent")
	_, err := p.AskWithin(20*time.Millisecond, Message{Type: Prepare, Server: &serverConfig}, Ready)
	if !matches(err, `^server \(process [0-9]+\) gave no answer within 20ms, so it was ended$`) {
		t.Error(err)
	}
}

// Close ends a Receive under way, and a child sees the end although one was: it need not
// be killed.
func TestCloseEndsReceive(t *testing.T) {
	p := spawn(t, "silent")
	received := make(chan error)
	go func() {
		_, err := p.Receive()
		received <- err
	}()
	for deadline := time.Now().Add(30 * time.Second); !blocked("(*Process).Receive"); runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("Receive does not wait")
		}
	}
	p.Close()
	if err := <-received; err == nil {
		t.Error("a message came from a child that says nothing")
	}
	if p.status != nil {
		t.Errorf("the child ended by %v", p.status)
	}
}

// blocked tells whether a goroutine waits for the kernel in that function.
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
