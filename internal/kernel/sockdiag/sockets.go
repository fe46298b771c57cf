package sockdiag

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Socket is one socket as sock_diag(7) shows it.
type Socket struct {
	Local, Remote netip.AddrPort
	State         State
	Receive, Send uint32 // bytes in its queues
	// Expires is how long its timer still runs; in TIME_WAIT, the time left. Zero means no timer.
	Expires     time.Duration
	Timer       Timer
	Retransmits uint8 // timeouts since the last answer
}

// Timer is the purpose of a socket's timer (idiag_timer).
type Timer uint8

// ProbeTimer runs between probes of a closed window.
const ProbeTimer Timer = 4

// Find looks up one socket, which takes as long however many there are. ok is false if there is none.
// Both addresses have the same family.
func (c *Census) Find(local, remote netip.AddrPort) (s Socket, ok bool, err error) {
	c.seq++
	family := uint8(unix.AF_INET)
	if local.Addr().Is6() {
		family = unix.AF_INET6
	}
	b := appendRequest(c.request[:0], c.seq, family, allStates, nil)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST) // no dump
	id := b[unix.SizeofNlMsghdr+8:]                          // struct inet_diag_sockid
	binary.BigEndian.PutUint16(id, local.Port())
	binary.BigEndian.PutUint16(id[2:], remote.Port())
	copy(id[4:], local.Addr().AsSlice())
	copy(id[20:], remote.Addr().AsSlice())
	for i := range 8 {
		id[40+i] = 0xff // INET_DIAG_NOCOOKIE
	}
	c.request = b
	err = c.ask(true, func(state State, b []byte) {
		// If there is no such connection, the kernel sends the socket that would take one.
		if state != Listen {
			s, ok = socketOf(state, b), true
		}
	})
	if errors.Is(err, unix.ENOENT) {
		err = nil
	}
	return s, ok, err
}

// socketOf reads a struct inet_diag_msg.
func socketOf(state State, b []byte) Socket {
	s := Socket{
		Local: localOf(b), Remote: remoteOf(b), State: state, Timer: Timer(b[2]), Retransmits: b[3],
		Receive: binary.NativeEndian.Uint32(b[56:]), Send: binary.NativeEndian.Uint32(b[60:]),
	}
	if s.Timer != 0 {
		s.Expires = time.Duration(binary.NativeEndian.Uint32(b[52:])) * time.Millisecond
	}
	return s
}
