package stage

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
	"tcpbench/server"
)

// As many processes are started as the descriptors of one server take, which needs some itself.
func TestCrewSize(t *testing.T) {
	most := MostConnections()
	served := min(most, server.Most(most+SpareDescriptors, 1, 1))
	ports := func(n int) []netip.AddrPort { return make([]netip.AddrPort, n) }
	for _, c := range []struct {
		name        string
		connections int
		own         *server.Config
		want        int
	}{
		{"foreign", most, nil, 1},
		{"foreign, one more", most + 1, nil, 2},
		{"foreign, many", 10*most + 1, nil, 11},
		{"own", served, &server.Config{Loops: 1, Addrs: ports(1)}, 1},
		{"own, one more", served + 1, &server.Config{Loops: 1, Addrs: ports(1)}, 2},
		{"own, whose loops need descriptors", served, &server.Config{Loops: 64, Addrs: ports(1)}, 2},
		{"own, no room at all", 20, &server.Config{Loops: 256, Addrs: ports(most)}, 1},
	} {
		p := &Plan{Server: c.own, Client: loadgen.Config{Connections: c.connections}}
		if got := p.CrewSize(); got != c.want {
			t.Errorf("%s: %d processes, want %d", c.name, got, c.want)
		}
	}
}

// Servers that say nothing are waited for together, and the result names them.
func TestSilentServersAreNamed(t *testing.T) {
	t.Parallel()
	s := &stage{plan: &Plan{Server: own()}, patience: patience}
	defer s.close()
	for range 2 {
		if err := s.startServers(); err != nil {
			t.Fatal(err)
		}
	}
	if u := s.sample(); u == nil || s.serverLost != nil {
		t.Fatalf("%+v, %v", u, s.serverLost)
	}
	for _, c := range s.servers {
		if err := c.Freeze(); err != nil {
			t.Fatal(err)
		}
		defer c.Thaw() // to end at once
		for {          // its threads stop one by one
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.PID()))
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(stat), ") T ") {
				break
			}
			time.Sleep(time.Millisecond)
		}
	}
	s.patience = 50 * time.Millisecond
	if u := s.sample(); u != nil {
		t.Errorf("%+v", u)
	}
	for _, p := range s.servers {
		if want := fmt.Sprintf("server (process %d) gave no answer within 50ms", p.PID()); s.serverLost == nil || !strings.Contains(s.serverLost.Error(), want) {
			t.Errorf("%v, want %q in it", s.serverLost, want)
		}
	}
	if u := s.sample(); u != nil { // they are gone: nobody is asked again
		t.Errorf("%+v", u)
	}
}

// A client that says nothing in the middle of a run ends it, by its name, when it has been silent
// for a minute beside the time for which the plan explains it. The seconds are the test's.
func TestASilentClientIsNamed(t *testing.T) {
	t.Parallel()
	plan := &Plan{Server: own(), Client: loadgen.Config{
		Process: pace.Closed, Connections: 1, Loops: 1, Warmup: time.Hour, Duration: time.Second,
		Timeout: patience, OnExhausted: loadgen.CountExhausted, Lifecycle: loadgen.Lifecycle{ConnectOnly: true},
	}}
	ticks := make(chan time.Time)
	s := &stage{plan: plan, phases: map[loadgen.Phase]int{}, ticks: ticks}
	defer s.close()
	if err := errors.Join(s.startServers(), s.startClients()); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		_, err := s.drive(t.Context())
		ended <- err
	}()
	const most = int((time.Hour + silencePatience) / time.Second)
	for n := 0; ; n++ {
		select {
		case ticks <- time.Time{}:
		case err := <-ended:
			// It may have said once, at some time of these, that its warm-up has begun.
			if want := fmt.Sprintf("%v has said nothing for 1h1m0s", s.clients[0]); err == nil || !strings.Contains(err.Error(), want) || n < most || n > 2*most+2 {
				t.Errorf("after %d seconds: %v, want %q", n, err, want)
			}
			return
		}
	}
}
