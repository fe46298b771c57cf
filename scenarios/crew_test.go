package scenarios

import (
	"net/netip"
	"testing"

	"tcpbench/loadgen"
	"tcpbench/server"
)

// As many processes are started as the descriptors of one server take, which needs some itself.
func TestCrewSize(t *testing.T) {
	most := MostConnections()
	served := min(most, server.Most(most+spareDescriptors, 1, 1))
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
		if got := p.crewSize(); got != c.want {
			t.Errorf("%s: %d processes, want %d", c.name, got, c.want)
		}
	}
}
