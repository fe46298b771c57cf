package scenarios

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"tcpbench/internal/agent"
	"tcpbench/internal/values"
	"tcpbench/loadgen"
	"tcpbench/metrics"
	"tcpbench/scenarios/stage"
	"tcpbench/server"
)

const (
	patience   = time.Minute // bounds every wait for something that must happen
	population = 40
	beat       = 50 * time.Millisecond
	// For peers that live: a machine that stands still for a moment has no dead ones.
	lenient = "--missed 100"
)

func TestHeartbeatDesigns(t *testing.T) {
	t.Parallel()
	for design, measured := range map[string]bool{"ping": true, "listen": false, "server": true} {
		t.Run(design, func(t *testing.T) {
			t.Parallel()
			r := staged(t, Long, fmt.Sprintf("--connections %d --hold 400ms --heartbeat %v --heartbeat-design %s %s", population, beat, design, lenient))
			if r.Succeeded != population || r.Population.Held != population || r.Server.Closed["completed"] != population {
				t.Errorf("%d succeeded, %+v; the server closed %v", r.Succeeded, r.Population, r.Server.Closed)
			}
			b := r.Beats
			// One beat of each connection may be under way at the end.
			if b == nil || b.Answered < population || b.Sent < b.Answered || b.Sent > b.Answered+b.Missed+population {
				t.Errorf("beats %+v", b)
			}
			if n := uint64(r.Histograms[metrics.Heartbeat].Count); measured != (n > 0) || measured && n != b.Answered {
				t.Errorf("%d round trips of %+v", n, b)
			}
			if n := r.Histograms[metrics.FirstByte].Count; (n > 0) != (design == "ping") {
				t.Errorf("%d first bytes of answers", n)
			}
			for _, name := range []string{metrics.Detect, metrics.ServerDetect} {
				if n := r.Histograms[name].Count; n > 0 {
					t.Errorf("%s: %d surprises of none", name, n)
				}
			}
		})
	}
}

// serverChild is a server in a process of its own, which a test may maltreat.
type serverChild struct {
	*agent.Remote
	addr netip.AddrPort
}

func startServer(t *testing.T, addr string) serverChild {
	t.Helper()
	r, addrs, err := stage.StartServer(agent.Processes{}, &server.Config{
		Addrs: []netip.AddrPort{netip.MustParseAddrPort(addr)}, MaxRequest: values.MaxMessage, MaxResponse: values.MaxMessage,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return serverChild{r, addrs[0]}
}

func (s serverChild) signal(t *testing.T, signal syscall.Signal) {
	t.Helper()
	if err := s.Process().Signal(signal); err != nil {
		t.Error(err)
	}
}

func (s serverChild) usage(t *testing.T) *stage.ServerUsage {
	t.Helper()
	u, err := stage.SampleServer(s.Remote, patience)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// holdAgainst holds a population against a server to which something happens once it is
// there.
func holdAgainst(t *testing.T, target netip.AddrPort, args string, happens func()) *metrics.Result {
	t.Helper()
	plan, err := planned(t, Long, fmt.Sprintf("--target %v --connections %d --heartbeat %v %s", target, population, beat, args))
	if err != nil {
		t.Fatal(err)
	}
	r, err := stage.Run(t.Context(), plan, stage.Observer{Period: func(p loadgen.Period) {
		if p == loadgen.Holding {
			happens()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Balance(); err != nil {
		t.Error(err)
	}
	return r
}

// A server that is stopped says nothing and its kernel acknowledges all: only an answer
// that does not come tells. A killed one is announced by its kernel.
func TestClientsNoticeADeadServer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		design  string
		signal  syscall.Signal
		lost    int // of the population
		atLeast time.Duration
		names   []string // under which they count
		args    string
	}{
		// A run whose connections are all lost is over.
		{"ping", syscall.SIGSTOP, population, 2 * beat, []string{"exchange.peer_silent"}, "--hold 1m --missed 3"},
		{"server", syscall.SIGSTOP, population, 2 * beat, []string{"exchange.peer_silent"}, "--hold 1m --missed 3"},
		{"listen", syscall.SIGSTOP, 0, 0, nil, "--hold 500ms --missed 3"}, // it hears nothing from a living one either
		{"ping", syscall.SIGKILL, population, 0, []string{"exchange.closed_early", "exchange.reset"}, "--hold 1m " + lenient},
		{"server", syscall.SIGKILL, population, 0, []string{"exchange.closed_early", "exchange.reset"}, "--hold 1m " + lenient},
		{"listen", syscall.SIGKILL, population, 0, []string{"exchange.closed_early", "exchange.reset"}, "--hold 1m " + lenient},
	} {
		t.Run(fmt.Sprint(tt.design, " ", tt.signal), func(t *testing.T) {
			t.Parallel()
			s := startServer(t, "127.0.0.1:0")
			r := holdAgainst(t, s.addr, tt.args+" --heartbeat-design "+tt.design, func() { s.signal(t, tt.signal) })
			var lost uint64
			for _, name := range tt.names {
				lost += r.Failed[name]
			}
			if lost != uint64(tt.lost) || r.TotalFailed() != lost || r.Population.Held != population-lost {
				t.Errorf("%v, %d still held; want %d lost as %v", r.Failed, r.Population.Held, tt.lost, tt.names)
			}
			want := int64(tt.lost)
			if tt.design == "listen" {
				want = 0 // the client has no sign of life to count from
			}
			if h := r.Histograms[metrics.Detect]; h.Count != want || want > 0 && h.Min < int64(tt.atLeast) {
				t.Errorf("%d noticed, the first after %v; want %d, after %v or more", h.Count, time.Duration(h.Min), want, tt.atLeast)
			}
		})
	}
}

// clientsOf are the children of this process but one.
func clientsOf(t *testing.T, but int) []int {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	var all []int
	for _, task := range tasks {
		text, err := os.ReadFile("/proc/self/task/" + task.Name() + "/children")
		if err != nil {
			continue // a thread that has ended
		}
		for _, word := range strings.Fields(string(text)) {
			if pid, _ := strconv.Atoi(word); pid != but {
				all = append(all, pid)
			}
		}
	}
	return all
}

// A client that is stopped is noticed by a server that pings or listens, and by no other.
func TestServersNoticeADeadClient(t *testing.T) {
	for design, noticed := range map[string]uint64{"listen": population, "server": population, "ping": 0} {
		t.Run(design, func(t *testing.T) {
			missed, most := "--missed 3", patience
			if noticed == 0 {
				missed, most = lenient, 10*beat // there is nothing to wait for
			}
			s := startServer(t, "127.0.0.1:0")
			r := holdAgainst(t, s.addr, "--hold 100ms --heartbeat-design "+design+" "+missed, func() {
				clients := clientsOf(t, s.Process().PID())
				for _, pid := range clients {
					_ = syscall.Kill(pid, syscall.SIGSTOP)
				}
				for began := time.Now(); time.Since(began) < most && s.usage(t).Server.Closed["silent"] < population; {
					time.Sleep(time.Millisecond)
				}
				for _, pid := range clients {
					_ = syscall.Kill(pid, syscall.SIGCONT)
				}
			})
			u := s.usage(t)
			if n := u.Server.Closed["silent"]; n != noticed {
				t.Errorf("%v, want %d silent", u.Server.Closed, noticed)
			}
			h := u.Histograms[metrics.ServerDetect]
			if uint64(h.Count) != noticed || noticed > 0 && h.Min < int64(2*beat) {
				t.Errorf("%d noticed, the first after %v", h.Count, time.Duration(h.Min))
			}
			if lost := r.TotalFailed(); lost != noticed {
				t.Errorf("the client lost %d: %v", lost, slices.Collect(maps.Keys(r.Failed)))
			}
		})
	}
}
