package sockdiag

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Servers are the addresses of servers. An unspecified address stands for every address with its
// port. The zero value has none.
type Servers struct {
	ports   [1 << 16 / 64]uint64 // a bit for each: most sockets need no look into the map
	ends    map[end]struct{}
	one     [16]byte // the address of all, if uniform, which needs no look into the map
	uniform bool
	ranges  []Ports // the ports
}

// end is one end of a connection; an IPv4 address is mapped to IPv6.
type end struct {
	addr [16]byte
	port uint16
}

// ServersAt returns servers with these addresses.
func ServersAt(addrs []netip.AddrPort) *Servers {
	s := &Servers{ends: map[end]struct{}{}, uniform: true}
	var ports []uint16
	for _, a := range addrs {
		s.ports[a.Port()/64] |= 1 << (a.Port() % 64)
		ports = append(ports, a.Port())
		e := end{port: a.Port()}
		if ip := a.Addr(); !ip.IsUnspecified() {
			e.addr = ip.As16()
		}
		s.ends[e] = struct{}{}
		if len(s.ends) == 1 {
			s.one = e.addr
		}
		s.uniform = s.uniform && e.addr == s.one
	}
	s.ranges = RangesOf(ports)
	return s
}

// at tells whether one of them has the address and port of an end of a socket, as sock_diag writes
// them.
func (s *Servers) at(family uint8, addr, port []byte) bool {
	e := end{port: binary.BigEndian.Uint16(port)}
	if s.ports[e.port/64]>>(e.port%64)&1 == 0 {
		return false
	}
	everywhere := e
	if family == unix.AF_INET {
		e.addr[10], e.addr[11] = 0xff, 0xff
		copy(e.addr[12:], addr[:4])
	} else {
		copy(e.addr[:], addr[:16])
	}
	if s.uniform {
		return s.one == e.addr || s.one == everywhere.addr
	}
	_, one := s.ends[e]
	_, all := s.ends[everywhere]
	return one || all
}

// Listens tells whether a socket that listens at an address takes connections to one of them.
func (s *Servers) Listens(a netip.AddrPort) bool {
	if s.ports[a.Port()/64]>>(a.Port()%64)&1 == 0 {
		return false
	}
	_, all := s.ends[end{port: a.Port()}]
	_, one := s.ends[end{a.Addr().As16(), a.Port()}]
	return all || one || a.Addr().IsUnspecified()
}

// Ranges are the ports of all servers.
func (s *Servers) Ranges() []Ports { return s.ranges }
