package scenarios

import (
	"net/netip"
	"testing"

	"tcpbench/loadgen"
	"tcpbench/metrics"
	"tcpbench/server"
)

// As many processes are started as the descriptors of one server take, which needs some itself.
func TestCrewSize(t *testing.T) {
	most := MostConnections()
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
		{"own", most, &server.Config{Loops: 1, Addrs: ports(1)}, 1},
		{"own, one more", most + 1, &server.Config{Loops: 1, Addrs: ports(1)}, 2},
		{"own, whose loops need descriptors", most, &server.Config{Loops: 64, Addrs: ports(1)}, 2},
		{"own, no room at all", 20, &server.Config{Loops: 256, Addrs: ports(most)}, 1},
	} {
		p := &Plan{Server: c.own, Client: loadgen.Config{Connections: c.connections}}
		if got := p.crewSize(); got != c.want {
			t.Errorf("%s: %d processes, want %d", c.name, got, c.want)
		}
	}
}

// The room of a tcpbench server is told, and decides only where a run opens a population.
func TestRoomOfTargets(t *testing.T) {
	two := make([]netip.AddrPort, 2)
	closed := &Plan{Client: loadgen.Config{Connections: 100, Targets: two}}
	open := &Plan{Client: loadgen.Config{Connections: 100, Targets: two, Profile: loadgen.Steady(1)}}
	for room, want := range map[int]bool{0: false, 50: false, 49: true, 1000: false} {
		if got := closed.tooManyFor(room); got != want {
			t.Errorf("100 connections at two targets of %d: too many is %v", room, got)
		}
		if open.tooManyFor(room) {
			t.Errorf("an open loop is refused by a room of %d", room)
		}
	}
	for _, c := range []struct {
		rooms []int
		want  int
	}{{[]int{16, 32}, 48}, {[]int{16, 0}, 0}, {[]int{16}, 0}, {nil, 0}} {
		if got := roomOf(c.rooms, 2); got != c.want {
			t.Errorf("%v: %d, want %d", c.rooms, got, c.want)
		}
	}
}

func TestFlagRoom(t *testing.T) {
	for _, c := range []struct {
		name   string
		room   int
		result metrics.Result
		want   bool
	}{
		{"own, refused", 0, metrics.Result{Server: &metrics.ServerReport{Closed: map[string]uint64{"descriptors": 3}}}, true},
		{"own, fine", 0, metrics.Result{Server: &metrics.ServerReport{Closed: map[string]uint64{"completed": 3}}}, false},
		{"foreign, full", 100, metrics.Result{Tally: metrics.Tally{Failed: map[string]uint64{"exchange.reset": 2}}, Series: []metrics.Row{{InFlight: 95}}}, true},
		{"foreign, not full", 100, metrics.Result{Tally: metrics.Tally{Failed: map[string]uint64{"exchange.reset": 2}}, Series: []metrics.Row{{InFlight: 50}}}, false},
		{"foreign, no resets", 100, metrics.Result{Tally: metrics.Tally{Failed: map[string]uint64{}}, Series: []metrics.Row{{InFlight: 100}}}, false},
		{"foreign, unknown", 0, metrics.Result{Tally: metrics.Tally{Failed: map[string]uint64{"exchange.reset": 2}}, Series: []metrics.Row{{InFlight: 95}}}, false},
	} {
		flagged := ""
		(&stage{room: c.room}).flagRoom(&c.result, func(name, _ string, _ ...any) { flagged = name })
		if (flagged == metrics.ServerDescriptors) != c.want {
			t.Errorf("%s: %q", c.name, flagged)
		}
	}
}
