package sockets

import (
	"net/netip"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// name reads a kernel address back.
func (s *sockaddr) name() string {
	p := s.storage.Port
	port := p<<8 | p>>8
	if s.family == unix.AF_INET {
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(&s.storage))
		return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), port).String()
	}
	return netip.AddrPortFrom(netip.AddrFrom16(s.storage.Addr), port).String()
}

func TestSockaddr(t *testing.T) {
	for _, c := range []struct {
		addr, want string
		family     int
		size       uint32
		scope      uint32
	}{
		{"10.1.2.3:8080", "10.1.2.3:8080", unix.AF_INET, unix.SizeofSockaddrInet4, 0},
		{"[::ffff:10.1.2.3]:1", "10.1.2.3:1", unix.AF_INET, unix.SizeofSockaddrInet4, 0},
		{"[2001:db8::1]:65535", "[2001:db8::1]:65535", unix.AF_INET6, unix.SizeofSockaddrInet6, 0},
		{"[fe80::1%lo]:256", "[fe80::1]:256", unix.AF_INET6, unix.SizeofSockaddrInet6, 1},
		{"[fe80::1%7]:256", "[fe80::1]:256", unix.AF_INET6, unix.SizeofSockaddrInet6, 7},
		{"[fe80::1%nosuch]:256", "[fe80::1]:256", unix.AF_INET6, unix.SizeofSockaddrInet6, 0},
	} {
		s := newSockaddr(netip.MustParseAddrPort(c.addr))
		if s.name() != c.want || s.family != c.family || s.size != c.size || s.storage.Scope_id != c.scope && s.family == unix.AF_INET6 {
			t.Errorf("%s: %s, family %d, %d bytes, scope %d", c.addr, s.name(), s.family, s.size, s.storage.Scope_id)
		}
	}
}
