// Package sockdiag asks the kernel for TCP sockets, through sock_diag(7).
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

// Census counts the TCP sockets of a network namespace by state, through sock_diag(7):
// the kernel walks its tables and sends only what a filter takes, in binary. It is for
// one goroutine at a time, and sees the namespace of the thread that has opened it.
type Census struct {
	// IPv4 leaves the sockets of IPv6 out, and so a second walk through the kernel's
	// table, which takes as long as the first.
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

// States is one more than the highest State.
const States = 13

// stateNames are those of the kernel. A connection that is not yet established on the
// server's side is SYN_RECV, be it a request or a socket.
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

// The states that have a meaning of their own here.
const (
	Established State = 1
	FinWait2    State = 5
	TimeWait    State = 6
	CloseWait   State = 8
	Listen      State = 10
	newSynRecv  State = 12 // a request: it is reported as SYN_RECV
)

// Side is an end of the connections of a run.
type Side uint8

// The sides. A socket is the server's if its own end is an address of a server, port and all, and
// the client's if the other end is.
const (
	Client Side = iota
	Server
	Sides
)

// Population is how many sockets there are of each side in each state.
type Population [Sides][States]int

// Listener is a listening socket.
type Listener struct {
	Addr  netip.AddrPort
	Queue int // connections that wait for accept()
	Limit int // of the accept queue: one more fit in
	// Drops counts the SYNs and last ACKs that this socket dropped, most of them because its
	// queue was full. TcpExt ListenDrops is the sum over all listeners of a namespace.
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

// Count counts the sockets with one of the servers at either end, both families together.
// Where uses is not nil it is filled with the ports that the client's side takes of each
// space; left is how many of its sockets are in none of them, because there are more than
// MostSpaces.
func (c *Census) Count(servers *Servers, uses map[Space]Use) (p Population, left int, err error) {
	if n := len(servers.ranges); n == 0 || n > mostRanges {
		return p, 0, fmt.Errorf("census: %d ranges of ports: want 1 to %d", n, mostRanges)
	}
	return c.count(tally{servers: servers}, portFilter(servers.ranges), uses)
}

// All counts all sockets; those that are no server's are the client's.
func (c *Census) All(servers *Servers, uses map[Space]Use) (p Population, left int, err error) {
	return c.count(tally{servers: servers, strangers: true}, nil, uses)
}

func (c *Census) count(t tally, filter []byte, uses map[Space]Use) (p Population, left int, err error) {
	if uses != nil {
		c.uses.reset(cmp.Or(c.Spaces, MostSpaces))
		t.uses = &c.uses
	}
	for _, family := range c.families() {
		if err := c.dump(family, allStates, filter, &t); err != nil {
			return p, 0, err
		}
	}
	if uses != nil {
		clear(uses)
		for key, i := range c.uses.index {
			uses[key.space()] = c.uses.counts[i]
		}
	}
	return t.population, t.left, nil
}

// Listeners lists the listening sockets on the ports, at whatever address; nil ports are all.
func (c *Census) Listeners(ports []Ports) ([]Listener, error) {
	var filter []byte
	if ports != nil {
		filter = portFilter(ports)
	}
	t := tally{listeners: []Listener{}}
	for _, family := range c.families() {
		if err := c.dump(family, 1<<Listen, filter, &t); err != nil {
			return nil, err
		}
	}
	return t.listeners, nil
}

// ListeningPorts are the ports on which sockets listen in the calling thread's network namespace,
// as PortList writes them; none if the kernel does not tell.
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

func (c *Census) families() []uint8 {
	both := []uint8{unix.AF_INET, unix.AF_INET6}
	if c.IPv4 {
		return both[:1]
	}
	return both
}

// dump asks for all sockets of a family, and has each told to t.
func (c *Census) dump(family uint8, states uint32, filter []byte, t *tally) error {
	c.seq++
	c.request = appendRequest(c.request[:0], c.seq, family, states, filter)
	if t.listeners != nil {
		c.request[extensionsAt] = withMemInfo
	}
	err := c.ask(t)
	if errors.Is(err, unix.ENOENT) && family == unix.AF_INET6 {
		return nil // a kernel without IPv6
	}
	return err
}

// ask sends the request, and has all that comes back told to t.
func (c *Census) ask(t *tally) error {
	if err := unix.Sendto(c.fd, c.request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return fmt.Errorf("census: %w", os.NewSyscallError("sendto", err))
	}
	for {
		n, err := unix.Read(c.fd, c.buffer) // recvfrom() would make an address each time
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("census: %w", os.NewSyscallError("read", err))
		}
		done, err := t.read(c.buffer[:n], c.seq)
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

// tally adds up what a dump tells.
type tally struct {
	servers    *Servers
	strangers  bool // what no server has an end of counts as the client's
	population Population
	uses       *usage // nil where nobody asks
	left       int    // sockets that are in none of the uses
	listeners  []Listener
	sockets    []Socket // nil where nobody asks
	single     bool     // one socket was asked for, and one message is all
}

// read takes the messages of one datagram, and tells whether the dump is over.
func (t *tally) read(b []byte, seq uint32) (done bool, err error) {
	for len(b) >= unix.SizeofNlMsghdr {
		length := int(binary.NativeEndian.Uint32(b))
		kind := binary.NativeEndian.Uint16(b[4:])
		if length < unix.SizeofNlMsghdr || length > len(b) {
			return false, fmt.Errorf("a message of %d bytes in %d", length, len(b))
		}
		body := b[unix.SizeofNlMsghdr:length]
		if binary.NativeEndian.Uint32(b[8:]) == seq { // else it answers an earlier question
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
				t.add(body)
				if t.single {
					return true, nil
				}
			}
		}
		b = b[min((length+3)&^3, len(b)):]
	}
	return false, nil
}

// add counts one socket (struct inet_diag_msg).
func (t *tally) add(b []byte) {
	state := State(b[1])
	if state == newSynRecv {
		state = 3
	}
	if state == 0 || state >= States {
		return
	}
	if t.listeners != nil {
		local := netip.AddrPortFrom(addressOf(b[0], b[8:]), binary.BigEndian.Uint16(b[4:]))
		t.listeners = append(t.listeners, Listener{
			Addr:  local,
			Queue: int(binary.NativeEndian.Uint32(b[56:])), Limit: int(binary.NativeEndian.Uint32(b[60:])),
			Drops: dropsOf(b[messageSize:]),
		})
		return
	}
	if t.sockets != nil {
		t.sockets = append(t.sockets, socketOf(b, state))
		return
	}
	side := Client
	switch {
	case t.servers.at(b[0], b[8:], b[4:]),
		state == Listen && t.servers.Listens(netip.AddrPortFrom(addressOf(b[0], b[8:]), binary.BigEndian.Uint16(b[4:]))):
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

// dropsOf reads the drops of a socket from the attributes of its message (struct nlattr).
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

// addressOf reads one of the addresses of a socket. An IPv4 address may stand in an IPv6
// socket.
func addressOf(family uint8, b []byte) netip.Addr {
	if family == unix.AF_INET {
		return netip.AddrFrom4([4]byte(b[:4]))
	}
	return netip.AddrFrom16([16]byte(b[:16])).Unmap()
}
