package kernel

import (
	"bytes"
	"errors"
	"fmt"
)

// Sockets is what /proc/net/sockstat and sockstat6 say about TCP. The first three belong to the network
// namespace, the others to the machine.
type Sockets struct {
	// InUse counts IPv4 sockets, InUse6 IPv6 sockets: listeners and connections, without TIME_WAIT
	// and half-open requests.
	InUse, InUse6 int64
	// TimeWait is tw, of both families. It includes orphans in FIN_WAIT_2, which sock_diag tells
	// apart.
	TimeWait int64
	// Orphan counts sockets without a process.
	Orphan int64
	// Alloc counts all sockets, and Mem their buffers in pages.
	Alloc, Mem int64
}

// Sockstat counts the TCP sockets of the calling thread's network namespace. To read often, open a Net.
func Sockstat() (Sockets, error) {
	n, err := OpenNet()
	if err != nil {
		return Sockets{}, err
	}
	s, err := n.Sockstat()
	return s, errors.Join(err, n.Close())
}

// unread marks a field that parseSockstat has not seen. The kernel never prints a negative one.
const unread = -1

// field is where a number goes; nil if Sockets does not have it.
func (s *Sockets) field(protocol, key []byte) *int64 {
	switch string(protocol) {
	case "TCP":
		switch string(key) {
		case "inuse":
			return &s.InUse
		case "orphan":
			return &s.Orphan
		case "tw":
			return &s.TimeWait
		case "alloc":
			return &s.Alloc
		case "mem":
			return &s.Mem
		}
	case "TCP6":
		if string(key) == "inuse" {
			return &s.InUse6
		}
	}
	return nil
}

// parseSockstat reads lines of the form
//
//	TCP: inuse 1 orphan 0 tw 0 alloc 1 mem 313
//
// All of TCP must be there. Without TCP6, InUse6 is zero.
func parseSockstat(text []byte) (Sockets, error) {
	s := Sockets{unread, unread, unread, unread, unread, unread}
	for line := 1; len(text) > 0; line++ {
		row, rest, ok := cutLine(text)
		if !ok {
			return Sockets{}, fmt.Errorf("line %d: ends within", line)
		}
		text = rest
		protocol, fields, ok := bytes.Cut(row, []byte{':'})
		if !ok || len(protocol) == 0 {
			return Sockets{}, fmt.Errorf("line %d: want a protocol and a colon: %q", line, row)
		}
		for len(fields) > 0 {
			key, value, rest, ok := cutPair(fields)
			if !ok {
				return Sockets{}, fmt.Errorf("line %d: want pairs of a name and a number: %q", line, row)
			}
			fields = rest
			to := s.field(protocol, key)
			switch {
			case to == nil:
			case value < 0:
				return Sockets{}, fmt.Errorf("line %d: %s %s is negative: %d", line, protocol, key, value)
			case *to != unread:
				return Sockets{}, fmt.Errorf("line %d: %s %s a second time", line, protocol, key)
			default:
				*to = value
			}
		}
	}
	if min(s.InUse, s.Orphan, s.TimeWait, s.Alloc, s.Mem) == unread {
		return Sockets{}, errors.New("want a line of TCP with inuse, orphan, tw, alloc and mem")
	}
	s.InUse6 = max(s.InUse6, 0)
	return s, nil
}

// cutPair splits off a name and its number.
func cutPair(fields []byte) (key []byte, value int64, rest []byte, ok bool) {
	key, rest, ok = cutField(fields)
	if !ok {
		return nil, 0, nil, false
	}
	number, rest, ok := cutField(rest)
	if !ok {
		return nil, 0, nil, false
	}
	value, ok = parseValue(number)
	return key, value, rest, ok
}
