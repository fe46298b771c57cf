// Package sockdiag asks the kernel for TCP sockets, through sock_diag(7): it walks its tables, and
// sends only what a filter takes, in binary.
package sockdiag

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Census asks about the network namespace of the thread that opened it. One goroutine uses it at a
// time.
type Census struct {
	// IPv4 leaves out IPv6 sockets, and so a second walk through the kernel's table, which takes as
	// long as the first.
	IPv4 bool
	// Spaces is how many spaces a census tells apart; zero means MostSpaces.
	Spaces int

	fd      int
	seq     uint32
	request []byte
	buffer  []byte
	uses    usage
}

// State is a TCP state as the kernel numbers them (net/tcp_states.h).
type State uint8

// The states that have a name in Go, and one more than the highest.
const (
	Established State = 1
	FinWait2    State = 5
	TimeWait    State = 6
	CloseWait   State = 8
	Listen      State = 10
	States            = 13

	synRecv    State = 3
	newSynRecv State = 12 // a request, which counts as synRecv
)

// stateNames are the kernel's. A connection that is not yet established on the server's side is
// SYN_RECV, whether it is a request or a socket.
var stateNames = [States]string{
	"", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT",
	"CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING", "SYN_RECV",
}

func (s State) String() string {
	if int(s) < len(stateNames) && s > 0 {
		return stateNames[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Side is an end of the connections of a run.
type Side uint8

// The sides. A socket is the server's if its own address and port are a server's, and the client's
// if its peer's are.
const (
	Client Side = iota
	Server
	Sides
)

// Population is the number of sockets of each side in each state.
type Population [Sides][States]int

// Listener is a listening socket.
type Listener struct {
	Addr  netip.AddrPort
	Queue int // connections that wait for accept()
	Limit int // of the accept queue: it holds one more
	// Drops counts the SYNs and last ACKs that this socket dropped, mostly because its queue was
	// full. TcpExt ListenDrops is the sum over all listeners of a namespace.
	Drops uint32
}

const (
	sockDiagByFamily = 20
	inetDiagBytecode = 1
	inetDiagMemInfo  = 7      // INET_DIAG_SKMEMINFO: an array of 32-bit numbers
	memInfoDrops     = 8      // SK_MEMINFO_DROPS: where the drops stand in it
	withMemInfo      = 1 << 6 // asks for it, in a request
	extensionsAt     = 16 + 2 // struct inet_diag_req_v2: idiag_ext
	requestSize      = 56     // struct inet_diag_req_v2
	messageSize      = 72     // struct inet_diag_msg
	allStates        = 1<<States - 2
	bufferSize       = 256 << 10
)

// OpenCensus opens a socket to the kernel.
func OpenCensus() (*Census, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("open a census: %w", os.NewSyscallError("socket", err))
	}
	// A kernel that is slow to answer must not hang a run.
	patience := unix.Timeval{Sec: 5}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience); err != nil {
		_ = unix.Close(fd) // err is the news
		return nil, fmt.Errorf("open a census: %w", os.NewSyscallError("setsockopt", err))
	}
	return &Census{fd: fd, buffer: make([]byte, bufferSize)}, nil
}

// Close closes the socket.
func (c *Census) Close() error { return os.NewSyscallError("close", unix.Close(c.fd)) }

// Count counts the sockets with one of the servers at either end, in both families. If uses is not
// nil, it gets the ports that the client's side takes in each space; left is how many of its sockets
// are in no space, because there are more than Spaces.
func (c *Census) Count(servers *Servers, uses map[Space]Use) (p Population, left int, err error) {
	if n := len(servers.ranges); n == 0 || n > mostRanges {
		return p, 0, fmt.Errorf("census: %d ranges of ports: want 1 to %d", n, mostRanges)
	}
	return c.count(&tally{servers: servers}, portFilter(servers.ranges), uses)
}

// All counts all sockets. Those that are not a server's count as the client's.
func (c *Census) All(servers *Servers, uses map[Space]Use) (p Population, left int, err error) {
	return c.count(&tally{servers: servers, strangers: true}, nil, uses)
}

func (c *Census) count(t *tally, filter []byte, uses map[Space]Use) (Population, int, error) {
	if uses != nil {
		c.uses.reset(cmp.Or(c.Spaces, MostSpaces))
		t.uses = &c.uses
	}
	if err := c.dump(allStates, 0, filter, t.add); err != nil {
		return Population{}, 0, err
	}
	if uses != nil {
		clear(uses)
		for key, i := range c.uses.index {
			uses[key.space()] = c.uses.counts[i]
		}
	}
	return t.population, t.left, nil
}

// Listeners lists the listening sockets on the ports, at any address; nil means all ports.
func (c *Census) Listeners(ports []Ports) (all []Listener, err error) {
	var filter []byte
	if ports != nil {
		filter = portFilter(ports)
	}
	err = c.dump(1<<Listen, withMemInfo, filter, func(_ State, b []byte) { all = append(all, listenerOf(b)) })
	return all, err
}

// ListeningPorts are the ports on which sockets listen in the calling thread's network namespace, as
// PortList writes them; empty if the kernel does not tell.
func ListeningPorts() string {
	c, err := OpenCensus()
	if err != nil {
		return ""
	}
	defer c.Close()
	listeners, err := c.Listeners(nil)
	if err != nil {
		return ""
	}
	return PortList(PortsOf(listeners))
}

// PortsOf lists the ports of listening sockets.
func PortsOf(listeners []Listener) (ports []uint16) {
	for _, l := range listeners {
		ports = append(ports, l.Addr.Port())
	}
	return ports
}

// visitor gets a socket: a struct inet_diag_msg with its attributes, which is valid during the call.
type visitor func(state State, b []byte)

// dump asks for all sockets in these states, of both families unless IPv4 is set.
func (c *Census) dump(states uint32, extensions byte, filter []byte, visit visitor) error {
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		if family == unix.AF_INET6 && c.IPv4 {
			break
		}
		c.seq++
		c.request = appendRequest(c.request[:0], c.seq, family, states, filter)
		c.request[extensionsAt] = extensions
		err := c.ask(false, visit)
		if errors.Is(err, unix.ENOENT) && family == unix.AF_INET6 {
			break // a kernel without IPv6
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ask sends the request and visits what comes back: one socket, or all of a dump.
func (c *Census) ask(single bool, visit visitor) error {
	if err := unix.Sendto(c.fd, c.request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("census: %w", os.NewSyscallError("sendto", err))
	}
	for {
		n, err := unix.Read(c.fd, c.buffer) // recvfrom() would allocate an address each time
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("census: %w", os.NewSyscallError("read", err))
		}
		done, err := read(c.buffer[:n], c.seq, single, visit)
		switch {
		case err != nil:
			return fmt.Errorf("census: %w", err)
		case done:
			return nil
		}
	}
}

// appendRequest appends the message that asks for a dump (struct inet_diag_req_v2).
func appendRequest(b []byte, seq uint32, family uint8, states uint32, filter []byte) []byte {
	length := unix.SizeofNlMsghdr + requestSize
	if len(filter) > 0 {
		length += unix.SizeofNlAttr + len(filter)
	}
	b = binary.NativeEndian.AppendUint32(b, uint32(length))
	b = binary.NativeEndian.AppendUint16(b, sockDiagByFamily)
	b = binary.NativeEndian.AppendUint16(b, unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	b = binary.NativeEndian.AppendUint32(b, seq)
	b = binary.NativeEndian.AppendUint32(b, 0)
	b = append(b, family, unix.IPPROTO_TCP, 0, 0)
	b = binary.NativeEndian.AppendUint32(b, states)
	b = append(b, make([]byte, requestSize-8)...)
	if len(filter) > 0 {
		b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofNlAttr+len(filter)))
		b = binary.NativeEndian.AppendUint16(b, inetDiagBytecode)
		b = append(b, filter...)
	}
	return b
}

// read visits the sockets in one datagram. done means that no more come.
func read(b []byte, seq uint32, single bool, visit visitor) (done bool, err error) {
	for len(b) >= unix.SizeofNlMsghdr {
		length := int(binary.NativeEndian.Uint32(b))
		kind := binary.NativeEndian.Uint16(b[4:])
		if length < unix.SizeofNlMsghdr || length > len(b) {
			return false, fmt.Errorf("a message of %d bytes in %d", length, len(b))
		}
		body := b[unix.SizeofNlMsghdr:length]
		if binary.NativeEndian.Uint32(b[8:]) == seq { // otherwise it answers an earlier request
			switch kind {
			case unix.NLMSG_DONE:
				return true, nil
			case unix.NLMSG_ERROR:
				if len(body) < 4 {
					return false, errors.New("an error message without an error")
				}
				if errno := int32(binary.NativeEndian.Uint32(body)); errno != 0 {
					return false, os.NewSyscallError("sock_diag", unix.Errno(-errno))
				}
				return true, nil
			case sockDiagByFamily:
				if len(body) < messageSize {
					return false, fmt.Errorf("a socket of %d bytes, want %d", len(body), messageSize)
				}
				state := State(body[1])
				if state == newSynRecv {
					state = synRecv
				}
				if state > 0 && state < States {
					visit(state, body)
				}
				if single {
					return true, nil
				}
			}
		}
		b = b[min((length+3)&^3, len(b)):]
	}
	return false, nil
}

// tally counts the sockets of a census.
type tally struct {
	servers    *Servers
	strangers  bool // sockets without a server at either end count as the client's
	population Population
	uses       *usage // or nil
	left       int    // sockets that are in none of the uses
}

func (t *tally) add(state State, b []byte) {
	side := Client
	switch {
	case t.servers.at(b[0], b[8:], b[4:]), state == Listen && t.servers.Listens(localOf(b)):
		side = Server
	case !t.strangers && !t.servers.at(b[0], b[24:], b[6:]):
		return
	}
	t.population[side][state]++
	if side == Server || t.uses == nil || state == Listen {
		return
	}
	u := t.uses.of(b)
	switch {
	case u == nil:
		t.left++
	case state == TimeWait:
		u.TimeWait++
	default:
		u.Other++
	}
}

func listenerOf(b []byte) Listener {
	return Listener{
		Addr:  localOf(b),
		Queue: int(binary.NativeEndian.Uint32(b[56:])), Limit: int(binary.NativeEndian.Uint32(b[60:])),
		Drops: dropsOf(b[messageSize:]),
	}
}

// dropsOf finds the drops of a socket among the attributes of its message (struct nlattr).
func dropsOf(attributes []byte) uint32 {
	for b := attributes; len(b) >= unix.SizeofNlAttr; {
		length := int(binary.NativeEndian.Uint16(b))
		if length < unix.SizeofNlAttr || length > len(b) {
			return 0
		}
		value := b[unix.SizeofNlAttr:length]
		if binary.NativeEndian.Uint16(b[2:]) == inetDiagMemInfo && len(value) >= 4*(memInfoDrops+1) {
			return binary.NativeEndian.Uint32(value[4*memInfoDrops:])
		}
		b = b[min((length+3)&^3, len(b)):]
	}
	return 0
}

func localOf(b []byte) netip.AddrPort {
	return netip.AddrPortFrom(addressOf(b[0], b[8:]), binary.BigEndian.Uint16(b[4:]))
}

func remoteOf(b []byte) netip.AddrPort {
	return netip.AddrPortFrom(addressOf(b[0], b[24:]), binary.BigEndian.Uint16(b[6:]))
}

// addressOf reads an address of a socket. An IPv6 socket may have an IPv4 address.
func addressOf(family uint8, b []byte) netip.Addr {
	if family == unix.AF_INET {
		return netip.AddrFrom4([4]byte(b[:4]))
	}
	return netip.AddrFrom16([16]byte(b[:16])).Unmap()
}
