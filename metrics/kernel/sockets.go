package kernel

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

// Socket is one socket as sock_diag(7) shows it.
type Socket struct {
	Local, Remote netip.AddrPort
	State         State
	// Receive and Send are the bytes in its queues; of a listening socket the connections
	// that wait for accept(), and how many may.
	Receive, Send uint32
	// Expires is when its timer ends: of TIME_WAIT the time that it has left. Zero is no timer.
	Expires time.Duration
	// Retransmits counts the timeouts since the last answer.
	Retransmits uint8
}

// Sockets lists the sockets with one of the ports at either end.
func (c *Census) Sockets(ports []Ports) ([]Socket, error) {
	if len(ports) == 0 || len(ports) > mostRanges {
		return nil, fmt.Errorf("census: %d ranges of ports: want 1 to %d", len(ports), mostRanges)
	}
	t := tally{ports: ports, sockets: []Socket{}}
	for _, family := range c.families() {
		if err := c.dump(family, allStates, portFilter(ports), &t); err != nil {
			return nil, err
		}
	}
	return t.sockets, nil
}

// socketOf reads a struct inet_diag_msg.
func socketOf(b []byte, state State) Socket {
	s := Socket{
		Local:       netip.AddrPortFrom(addressOf(b[0], b[8:]), binary.BigEndian.Uint16(b[4:])),
		Remote:      netip.AddrPortFrom(addressOf(b[0], b[24:]), binary.BigEndian.Uint16(b[6:])),
		State:       state,
		Retransmits: b[3],
		Receive:     binary.NativeEndian.Uint32(b[56:]), Send: binary.NativeEndian.Uint32(b[60:]),
	}
	if timer := b[2]; timer != 0 {
		s.Expires = time.Duration(binary.NativeEndian.Uint32(b[52:])) * time.Millisecond
	}
	return s
}
