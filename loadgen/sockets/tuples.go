package sockets

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
)

// sockaddr is an address in the form of the kernel, made once.
type sockaddr struct {
	storage unix.RawSockaddrInet6 // large enough for both families
	size    uint32
	family  int
	addr    netip.Addr // without its zone
}

func newSockaddr(a netip.AddrPort) *sockaddr {
	s := &sockaddr{addr: a.Addr().Unmap().WithZone("")}
	if s.addr.Is4() {
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(&s.storage))
		in.Family, in.Addr = unix.AF_INET, s.addr.As4()
		s.size, s.family = unix.SizeofSockaddrInet4, unix.AF_INET
	} else {
		s.storage.Family, s.storage.Addr, s.storage.Scope_id = unix.AF_INET6, a.Addr().As16(), scopeID(a.Addr().Zone())
		s.size, s.family = unix.SizeofSockaddrInet6, unix.AF_INET6
	}
	s.setPort(a.Port())
	return s
}

// setPort sets the port, in network byte order. It stands at the same place in both families.
func (s *sockaddr) setPort(port uint16) { s.storage.Port = port<<8 | port>>8 }

func (s *sockaddr) String() string {
	p := s.storage.Port
	return netip.AddrPortFrom(s.addr, p<<8|p>>8).String()
}

// local tells whether it is an address of this host: then the kernel also takes it as the source.
func (s *sockaddr) local() bool {
	if s.addr.IsLoopback() || s.addr.IsUnspecified() {
		return true
	}
	all, _ := net.InterfaceAddrs()
	return slices.ContainsFunc(all, func(a net.Addr) bool {
		p, err := netip.ParsePrefix(a.String())
		return err == nil && p.Addr() == s.addr
	})
}

// scopeID is the number of a zone of a link-local address: an interface's index.
func scopeID(zone string) uint32 {
	if i, err := net.InterfaceByName(zone); zone != "" && err == nil {
		return uint32(i.Index)
	}
	n, _ := strconv.ParseUint(zone, 10, 32)
	return uint32(n)
}

// space is one source and one target: all the four-tuples that differ in nothing but the source
// port. A nil source leaves the choice to the kernel's routing.
type space struct {
	source, target *sockaddr
	port           int // the last explicit source port
}

// tuples are the four-tuples of a loop, and how their sockets are made.
type tuples struct {
	spaces        []space
	next          int
	place, places int
	// meets is set if a source and its target can be one address: a connection to a port on which
	// nobody listens can meet itself there (connectedToItself).
	meets                bool
	options              *loadgen.Options
	settings4, settings6 []setting
	congestion           congestion
}

// newTuples returns a loop's share of all pairs of a source and a target.
func newTuples(cfg *loadgen.Config, loop int, all []pace.Pair) tuples {
	t := tuples{
		place: cfg.Place(loop), places: cfg.Places(), options: &cfg.Options, congestion: newCongestion(cfg.Options.Congestion),
		settings4: settings(&cfg.Options, unix.AF_INET), settings6: settings(&cfg.Options, unix.AF_INET6),
	}
	sources, targets := make([]*sockaddr, len(cfg.Sources)), make([]*sockaddr, len(cfg.Targets))
	once := func(made []*sockaddr, i int, a netip.AddrPort) *sockaddr {
		if made[i] == nil {
			made[i] = newSockaddr(a)
		}
		return made[i]
	}
	for _, p := range pace.Stripe(all, t.place, t.places) {
		s := space{target: once(targets, p.Target, cfg.Targets[p.Target])}
		if p.Source == pace.Any {
			t.meets = t.meets || s.target.local()
		} else {
			s.source = once(sources, p.Source, netip.AddrPortFrom(cfg.Sources[p.Source], 0))
			t.meets = t.meets || s.source.addr == s.target.addr
		}
		t.spaces = append(t.spaces, s)
	}
	return t
}

// turn returns the space of the next connection.
func (t *tuples) turn() *space {
	s := &t.spaces[t.next]
	if t.next++; t.next == len(t.spaces) {
		t.next = 0
	}
	return s
}

// socket makes a socket for a connection of a space, with its options and its source.
func (t *tuples) socket(s *space) (fd int, errno unix.Errno) {
	fd, errno = socket(s.target.family, protocol(t.options))
	if errno != 0 {
		return -1, errno
	}
	if errno = t.apply(fd, s.target.family); errno == 0 && s.source != nil {
		errno = t.bind(fd, s)
	}
	if errno != 0 {
		closeSocket(fd)
		return -1, errno
	}
	return fd, 0
}

// portTries is how many ports in a row may be taken before an attempt with explicit ports counts
// as one without a port: those of a run a minute ago are in TIME_WAIT.
const portTries = 64

// bind takes the source address and, if ports are explicit, the port.
func (t *tuples) bind(fd int, s *space) (errno unix.Errno) {
	switch {
	case t.options.FixedPorts:
		a := *s.source
		for range portTries {
			s.port = pace.NextPort(s.port, t.options.PortRange[0], t.options.PortRange[1], t.place, t.places)
			a.setPort(uint16(s.port))
			if errno = bind(fd, &a); errno != unix.EADDRINUSE {
				break
			}
		}
		return errno
	case !t.options.TakePort:
		// Without this option bind() takes the port from all destinations (ip(7)).
		if errno = setInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); errno != 0 {
			return errno
		}
	}
	return bind(fd, s.source)
}

// apply sets the options of a new socket.
func (t *tuples) apply(fd, family int) unix.Errno {
	settings := t.settings4
	if family == unix.AF_INET6 {
		settings = t.settings6
	}
	for i := range settings {
		s := &settings[i]
		if errno := setInt(fd, s.level, s.option, s.value); errno != 0 {
			return errno
		}
	}
	if t.congestion != (congestion{}) {
		return setOption(fd, unix.SOL_TCP, unix.TCP_CONGESTION, &t.congestion)
	}
	return 0
}

// What golang.org/x/sys/unix does not name.
const (
	ipLocalPortRange = 51 // linux/in.h, since 6.3
	ipprotoMPTCP     = 262
	tcpIsMPTCP       = 43 // linux/tcp.h, since 5.16
)

// congestion is the name of a congestion control as the kernel takes it (TCP_CA_NAME_MAX).
type congestion [16]byte

func newCongestion(name string) (c congestion) {
	copy(c[:], name)
	return c
}

// setting is one setsockopt of an integer.
type setting struct {
	name          string
	level, option int
	value         int32
}

// settings are the options for sockets of a family.
func settings(o *loadgen.Options, family int) (all []setting) {
	add := func(when bool, name string, level, option, value int) {
		if when {
			all = append(all, setting{name, level, option, int32(value)})
		}
	}
	seconds := func(d time.Duration) int { return max(1, int(d/time.Second)) }
	v6, probes := family == unix.AF_INET6, o.KeepAlive > 0
	add(o.NoDelay, "TCP_NODELAY", unix.SOL_TCP, unix.TCP_NODELAY, 1)
	add(o.QuickAck, "TCP_QUICKACK", unix.SOL_TCP, unix.TCP_QUICKACK, 1)
	add(o.FastOpen, "TCP_FASTOPEN_CONNECT", unix.SOL_TCP, unix.TCP_FASTOPEN_CONNECT, 1)
	add(o.ReuseAddr, "SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	add(o.PortRange != [2]int{}, "IP_LOCAL_PORT_RANGE", unix.SOL_IP, ipLocalPortRange, o.PortRange[1]<<16|o.PortRange[0])
	add(o.SYNCount > 0, "TCP_SYNCNT", unix.SOL_TCP, unix.TCP_SYNCNT, o.SYNCount)
	add(o.TOS > 0 && v6, "IPV6_TCLASS", unix.SOL_IPV6, unix.IPV6_TCLASS, o.TOS)
	add(o.TOS > 0 && !v6, "IP_TOS", unix.SOL_IP, unix.IP_TOS, o.TOS)
	add(probes, "SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	add(probes, "TCP_KEEPIDLE", unix.SOL_TCP, unix.TCP_KEEPIDLE, seconds(o.KeepAlive))
	add(probes && o.KeepInterval > 0, "TCP_KEEPINTVL", unix.SOL_TCP, unix.TCP_KEEPINTVL, seconds(o.KeepInterval))
	add(probes && o.KeepProbes > 0, "TCP_KEEPCNT", unix.SOL_TCP, unix.TCP_KEEPCNT, o.KeepProbes)
	add(o.UserTimeout > 0, "TCP_USER_TIMEOUT", unix.SOL_TCP, unix.TCP_USER_TIMEOUT, int(o.UserTimeout/time.Millisecond))
	add(o.FinTimeout > 0, "TCP_LINGER2", unix.SOL_TCP, unix.TCP_LINGER2, seconds(o.FinTimeout))
	return all
}

// protocol is the third argument of socket().
func protocol(o *loadgen.Options) int {
	if o.MPTCP {
		return ipprotoMPTCP
	}
	return unix.IPPROTO_TCP
}

// tryOptions sets every option on a socket of each family that the targets have. The error names
// an option that this kernel lacks, or a value that it refuses.
func tryOptions(o *loadgen.Options, targets []netip.AddrPort) error {
	if *o == (loadgen.Options{}) {
		return nil
	}
	tried := map[int]bool{}
	for _, t := range targets {
		family := newSockaddr(t).family
		if tried[family] {
			continue
		}
		tried[family] = true
		if err := tryOn(o, family); err != nil {
			return err
		}
	}
	return nil
}

func tryOn(o *loadgen.Options, family int) error {
	fd, errno := socket(family, protocol(o))
	if errno != 0 {
		err := os.NewSyscallError("socket", errno)
		if o.MPTCP {
			err = fmt.Errorf("this kernel refuses MPTCP: %w: look at net.mptcp.enabled, or leave --mptcp out", err)
		}
		return err
	}
	defer closeSocket(fd)
	for _, s := range settings(o, family) {
		if errno := setInt(fd, s.level, s.option, s.value); errno != 0 {
			return fmt.Errorf("this kernel refuses the socket option %s with the value %d: %w: leave its flag out", s.name, s.value, os.NewSyscallError("setsockopt", errno))
		}
	}
	if o.Congestion == "" {
		return nil
	}
	name := newCongestion(o.Congestion)
	if errno := setOption(fd, unix.SOL_TCP, unix.TCP_CONGESTION, &name); errno != 0 {
		return fmt.Errorf("this kernel refuses the congestion control %q: %w: net.ipv4.tcp_available_congestion_control lists those it has",
			o.Congestion, os.NewSyscallError("setsockopt", errno))
	}
	return nil
}
