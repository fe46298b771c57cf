package sockets

import (
	"fmt"
	"net/netip"
	"strings"
	"tcpbench/loadgen/pace"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// name reads a kernel address back.
func (s *sockaddr) name() string {
	if s == nil {
		return "any"
	}
	p := s.storage.Port
	port := p<<8 | p>>8
	if s.family == unix.AF_INET {
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(&s.storage))
		return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), port).String()
	}
	return netip.AddrPortFrom(netip.AddrFrom16(s.storage.Addr), port).String()
}

func anyAddr() *rapid.Generator[netip.Addr] {
	return rapid.Custom(func(t *rapid.T) netip.Addr {
		last := byte(rapid.IntRange(1, 40).Draw(t, "host"))
		if rapid.Bool().Draw(t, "v6") {
			return netip.AddrFrom16([16]byte{0: 0xfd, 15: last})
		}
		return netip.AddrFrom4([4]byte{127, 0, 0, last})
	})
}

// Every target meets every source of its family once, over all loops together.
func TestSpacesAreCoveredOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		sources := pace.Sources(rapid.SliceOfDistinct(anyAddr(), func(a netip.Addr) netip.Addr { return a }).Draw(t, "sources"))
		addrs := rapid.SliceOfNDistinct(anyAddr(), 1, 6, func(a netip.Addr) netip.Addr { return a }).Draw(t, "targets")
		var targets []netip.AddrPort
		for i, a := range addrs {
			targets = append(targets, netip.AddrPortFrom(a, uint16(8000+i)))
		}
		want := map[string]int{}
		lonely := false
		for _, target := range targets {
			n := len(want)
			for _, s := range sources {
				if s.Is4() == target.Addr().Is4() {
					want[netip.AddrPortFrom(s, 0).String()+" "+target.String()] = 1
				}
			}
			if len(sources) == 0 {
				want["any "+target.String()] = 1
			}
			lonely = lonely || len(want) == n
		}
		all, err := spaces(targets, sources)
		if lonely {
			if err == nil || !strings.Contains(err.Error(), "add one to --sources") {
				t.Fatalf("a target without a source of its family: %v", err)
			}
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		loops := rapid.IntRange(1, 12).Draw(t, "loops")
		times := map[string]int{}
		for loop := range loops {
			own := stripe(all, loop, loops)
			if len(own) == 0 {
				t.Fatalf("loop %d of %d has nowhere to connect to", loop, loops)
			}
			for _, s := range own {
				if s.source != nil && s.source.family != s.target.family {
					t.Fatalf("%s to %s", s.source.name(), s.target.name())
				}
				times[s.source.name()+" "+s.target.name()]++
			}
		}
		each := 1
		if len(all) < loops {
			each = loops // too few to share out: every loop has them all
		}
		for pair := range want {
			want[pair] = each
		}
		if fmt.Sprint(times) != fmt.Sprint(want) {
			t.Fatalf("%d loops have\n%v, want\n%v", loops, times, want)
		}
	})
}

// Connections made in turn come from different sources and go to different targets, so
// that they fill the ranges of ports alike and a dead target is met at once.
func TestNeighbouringSpacesDifferInBoth(t *testing.T) {
	all, err := spaces(to(netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort("127.0.0.1:2")),
		sources(t, "127.0.0.1-127.0.0.3"))
	if err != nil {
		t.Fatal(err)
	}
	l := loop{spaces: all}
	var got []string
	for range len(all) + 1 {
		s := l.nextSpace()
		got = append(got, s.source.name()+">"+s.target.name())
	}
	want := "127.0.0.1:0>127.0.0.1:1 127.0.0.2:0>127.0.0.1:2 127.0.0.3:0>127.0.0.1:1 " +
		"127.0.0.1:0>127.0.0.1:2 127.0.0.2:0>127.0.0.1:1 127.0.0.3:0>127.0.0.1:2 127.0.0.1:0>127.0.0.1:1"
	if strings.Join(got, " ") != want {
		t.Errorf("got %v\nwant %s", got, want)
	}
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
