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
	// Receive and Send are the bytes in its queues.
	Receive, Send uint32
	// Expires is when its timer ends: of TIME_WAIT the time that it has left. Zero is no timer.
	Expires time.Duration
	// Timer is what that timer is for.
	Timer Timer
	// Retransmits counts the timeouts since the last answer.
	Retransmits uint8
}

// Timer is what the timer of a socket is for (sock_diag, idiag_timer).
type Timer uint8

// ProbeTimer runs while a closed window is asked for room.
const ProbeTimer Timer = 4

// Find looks one socket up, which takes no longer however many there are. It is not ok where
// there is none. Both addresses are of one family.
func (c *Census) Find(local, remote netip.AddrPort) (s Socket, ok bool, err error) {
	c.seq++
	family := uint8(unix.AF_INET)
	if local.Addr().Is6() {
		family = unix.AF_INET6
	}
	b := appendRequest(c.request[:0], c.seq, family, allStates, nil)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST) // and no dump
	id := b[unix.SizeofNlMsghdr+8:]                          // struct inet_diag_sockid
	binary.BigEndian.PutUint16(id, local.Port())
	binary.BigEndian.PutUint16(id[2:], remote.Port())
	copy(id[4:], local.Addr().AsSlice())
	copy(id[20:], remote.Addr().AsSlice())
	for i := range 8 {
		id[40+i] = 0xff // INET_DIAG_NOCOOKIE
	}
	c.request = b
	t := tally{sockets: []Socket{}, single: true}
	err = c.ask(&t)
	if errors.Is(err, unix.ENOENT) {
		return s, false, nil
	}
	// Where there is no such connection the kernel gives the socket that would take one.
	if err != nil || len(t.sockets) == 0 || t.sockets[0].State == Listen {
		return s, false, err
	}
	return t.sockets[0], true, nil
}

// socketOf reads a struct inet_diag_msg.
func socketOf(b []byte, state State) Socket {
	s := Socket{
		Local:       netip.AddrPortFrom(addressOf(b[0], b[8:]), binary.BigEndian.Uint16(b[4:])),
		Remote:      netip.AddrPortFrom(addressOf(b[0], b[24:]), binary.BigEndian.Uint16(b[6:])),
		State:       state,
		Timer:       Timer(b[2]),
		Retransmits: b[3],
		Receive:     binary.NativeEndian.Uint32(b[56:]), Send: binary.NativeEndian.Uint32(b[60:]),
	}
	if timer := b[2]; timer != 0 {
		s.Expires = time.Duration(binary.NativeEndian.Uint32(b[52:])) * time.Millisecond
	}
	return s
}
