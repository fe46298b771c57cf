package sockets

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"tcpbench/loadgen/pace"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sockaddr is an address in the form of the kernel, made once.
type sockaddr struct {
	storage unix.RawSockaddrInet6 // large enough for both families
	size    uint32
	family  int
	addr    netip.Addr // without its zone
}

// own tells whether it is an address of this host's: the kernel takes it as the source
// too, then.
func (s *sockaddr) own() bool {
	if s.addr.IsLoopback() || s.addr.IsUnspecified() {
		return true
	}
	all, _ := net.InterfaceAddrs()
	return slices.ContainsFunc(all, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr() == s.addr
	})
}

func newSockaddr(a netip.AddrPort) sockaddr {
	s := sockaddr{addr: a.Addr().Unmap().WithZone("")}
	port := a.Port()<<8 | a.Port()>>8 // network byte order
	if a.Addr().Unmap().Is4() {
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(&s.storage))
		in.Family, in.Port, in.Addr = unix.AF_INET, port, a.Addr().Unmap().As4()
		s.size, s.family = unix.SizeofSockaddrInet4, unix.AF_INET
		return s
	}
	s.storage.Family, s.storage.Port, s.storage.Addr = unix.AF_INET6, port, a.Addr().As16()
	s.storage.Scope_id = scopeID(a.Addr().Zone())
	s.size, s.family = unix.SizeofSockaddrInet6, unix.AF_INET6
	return s
}

// setPort sets the port of an address of either family, whose port stands at one place.
func (s *sockaddr) setPort(port uint16) { s.storage.Port = port<<8 | port>>8 }

// space is one source and one destination: all the four-tuples that differ in nothing
// but the source port. A nil source leaves the choice to the kernel's routing.
type space struct {
	source *sockaddr
	target *sockaddr
	port   int // the last explicit source port
	// loop is set where source and target can be one address: a connection to a port
	// on which nobody listens can meet itself there (connectedToItself).
	loop bool
}

// spaces pairs every target with every source of its family. Neighbours in the list
// differ in both as far as there are others, so that connections made in turn spread
// over all targets and all ranges of ports. It fails when no source suits a target.
func spaces(targets []netip.AddrPort, sources pace.Sources) ([]space, error) {
	from := map[int][]*sockaddr{}
	for _, a := range sources {
		s := newSockaddr(netip.AddrPortFrom(a, 0))
		from[s.family] = append(from[s.family], &s)
	}
	to := map[int][]*sockaddr{}
	for _, t := range targets {
		a := newSockaddr(t)
		to[a.family] = append(to[a.family], &a)
		if len(sources) == 0 {
			from[a.family] = []*sockaddr{nil}
		}
		if len(from[a.family]) == 0 {
			return nil, fmt.Errorf("no source address is of the family of target %s: add one to --sources", t)
		}
	}
	v4 := pairs(from[unix.AF_INET], to[unix.AF_INET])
	v6 := pairs(from[unix.AF_INET6], to[unix.AF_INET6])
	all := make([]space, 0, len(v4)+len(v6))
	for len(v4)+len(v6) > 0 {
		if len(v4) > 0 {
			all, v4 = append(all, v4[0]), v4[1:]
		}
		if len(v6) > 0 {
			all, v6 = append(all, v6[0]), v6[1:]
		}
	}
	return all, nil
}

// pairs walks the table of sources and targets along its diagonals, and so meets each
// pair once: after as many steps as both numbers divide, the next diagonal begins.
func pairs(sources, targets []*sockaddr) []space {
	n := len(sources) * len(targets)
	all := make([]space, 0, n)
	for k, shift := 0, 0; k < n; k++ {
		if k > 0 && k%len(sources) == 0 && k%len(targets) == 0 {
			shift++
		}
		s, t := sources[k%len(sources)], targets[(k+shift)%len(targets)]
		all = append(all, space{source: s, target: t, loop: s == nil && t.own() || s != nil && s.addr == t.addr})
	}
	return all
}

// stripe returns the spaces of one loop: every n-th, or all of them where there are
// fewer than loops.
func stripe(all []space, loop, loops int) []space {
	if len(all) < loops {
		return slices.Clone(all)
	}
	var own []space
	for i := loop; i < len(all); i += loops {
		own = append(own, all[i])
	}
	return own
}
