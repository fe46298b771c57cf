package pace

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseSources(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"127.0.0.1", "127.0.0.1"},
		{" 127.0.0.1 , ::1 ", "127.0.0.1 ::1"},
		{"10.0.0.254-10.0.1.1", "10.0.0.254 10.0.0.255 10.0.1.0 10.0.1.1"},
		{"::ffff-::1:1", "::ffff ::1:0 ::1:1"},
		{"10.0.0.7-10.0.0.7", "10.0.0.7"},
		{"10.0.0.0/30", "10.0.0.1 10.0.0.2"},
		{"10.0.0.3/30", "10.0.0.1 10.0.0.2"},
		{"10.0.0.0/31", "10.0.0.0 10.0.0.1"},
		{"10.0.0.9/32", "10.0.0.9"},
		{"127.0.0.0/30", "127.0.0.0 127.0.0.1 127.0.0.2 127.0.0.3"},
		{"2001:db8::/126", "2001:db8:: 2001:db8::1 2001:db8::2 2001:db8::3"},
		{"255.255.255.255", "255.255.255.255"},
		{"10.0.0.1,10.0.0.1", "10.0.0.1 10.0.0.1"},
		{"fe80::1%eth0", "fe80::1%eth0"},
		{"fe80::1%eth0-fe80::2%eth0", "fe80::1%eth0 fe80::2%eth0"},
	} {
		got, err := ParseSources(c.text)
		if text := strings.Trim(fmt.Sprint([]netip.Addr(got)), "[]"); err != nil || text != c.want {
			t.Errorf("%q: %s, %v, want %s", c.text, text, err, c.want)
		}
	}
	for _, c := range []struct{ text, want string }{
		{"", "is no address, range a-b or CIDR prefix"},
		{"10.0.0.1,", "is no address, range a-b or CIDR prefix"},
		{"localhost", "is no address, range a-b or CIDR prefix"},
		{"10.0.0.1:80", "is no address, range a-b or CIDR prefix"},
		{"10.0.0.1-", `"" is no address`},
		{"10.0.0.1-::1", "of one family"},
		{"10.0.0.2-10.0.0.1", "of one family"},
		{"10.0.0.0/33", "is no CIDR prefix"},
		{"10.0.0.0-10.0.0.1/31", "is no CIDR prefix"},
		{"10.0.0.0/8", "more than 65536 addresses"},
		{"::/64", "more than 65536 addresses"},
		{"10.0.0.0-10.1.0.0", "more than 65536 source addresses"},
		{"10.0.0.0/16,10.1.0.0/16", "more than 65536 source addresses"},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%a-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff%b", "source addresses"},
	} {
		if got, err := ParseSources(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %d addresses, %v, want an error with %q", c.text, len(got), err, c.want)
		}
	}
	for text, want := range map[string]int{"127.1.0.0/16": 65536, "10.0.0.0/16": 65534, "fd00::/112": 65536, "0.0.0.0-0.0.255.255": 65536} {
		if got, err := ParseSources(text); err != nil || len(got) != want {
			t.Errorf("%q: %d addresses, %v, want %d", text, len(got), err, want)
		}
	}
}

// Bridges of containers are named br-…: the zone of an address may hold a hyphen.
func TestParseSourcesTakesZonesWithHyphens(t *testing.T) {
	got, err := ParseSources("fe80::1%br-lan")
	if want := netip.MustParseAddr("fe80::1%br-lan"); err != nil || len(got) != 1 || got[0] != want {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}

func FuzzParseSources(f *testing.F) {
	for _, seed := range []string{"127.0.0.1", "10.0.0.0/30,::1", "10.0.0.1-10.0.0.9", "fe80::1%a-fe80::2%b", "::ffff:1.2.3.4/126", "255.255.255.255/31", "::-::2"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		all, err := ParseSources(text)
		if err != nil {
			return
		}
		if len(all) < 1 || len(all) > maxSources {
			t.Fatalf("%q: %d addresses", text, len(all))
		}
		for i, a := range all {
			if !a.IsValid() {
				t.Fatalf("%q: address %d is none", text, i)
			}
		}
		// The list itself, written out, reads as itself.
		if len(all) > 8 {
			all = all[:8]
		}
		names := make([]string, len(all))
		for i, a := range all {
			names[i] = a.String()
		}
		list := strings.Join(names, ",")
		if strings.ContainsAny(list, "-/ \t") || strings.Count(list, ",") != len(all)-1 {
			return // in a zone
		}
		again, err := ParseSources(list)
		if err != nil || fmt.Sprint(again) != fmt.Sprint(all) {
			t.Fatalf("%q reads as %q, that as %v, %v", text, list, again, err)
		}
	})
}

// Every target meets every source of its family once, over all loops together.
func TestPairsAreCoveredOnce(t *testing.T) {
	anyAddr := rapid.Custom(func(t *rapid.T) netip.Addr {
		last := byte(rapid.IntRange(1, 40).Draw(t, "host"))
		if rapid.Bool().Draw(t, "v6") {
			return netip.AddrFrom16([16]byte{0: 0xfd, 15: last})
		}
		return netip.AddrFrom4([4]byte{127, 0, 0, last})
	})
	rapid.Check(t, func(t *rapid.T) {
		sources := Sources(rapid.SliceOfDistinct(anyAddr, rapid.ID).Draw(t, "sources"))
		want := map[Pair]int{}
		var targets []netip.AddrPort
		lonely := false
		for i, a := range rapid.SliceOfNDistinct(anyAddr, 1, 6, rapid.ID).Draw(t, "targets") {
			targets = append(targets, netip.AddrPortFrom(a, uint16(8000+i)))
			n := len(want)
			for j, s := range sources {
				if s.Is4() == a.Is4() {
					want[Pair{j, i}] = 1
				}
			}
			if len(sources) == 0 {
				want[Pair{Any, i}] = 1
			}
			lonely = lonely || len(want) == n
		}
		all, err := Pairs(targets, sources)
		if lonely != (err != nil) || lonely && !strings.Contains(err.Error(), "add one to --sources") {
			t.Fatalf("a target without a source of its family, %v: %v", lonely, err)
		}
		if lonely {
			return
		}
		loops := rapid.IntRange(1, 12).Draw(t, "loops")
		times := map[Pair]int{}
		for loop := range loops {
			own := Stripe(all, loop, loops)
			if len(own) == 0 {
				t.Fatalf("loop %d of %d has nowhere to connect to", loop, loops)
			}
			for _, p := range own {
				times[p]++
			}
		}
		if len(all) < loops { // too few to share out: every loop has them all
			for p := range want {
				want[p] = loops
			}
		}
		if !maps.Equal(times, want) {
			t.Fatalf("%d loops have\n%v, want\n%v", loops, times, want)
		}
	})
}

// Connections made in turn come from different sources and go to different targets, so that they
// fill the ranges of ports alike and a dead target is met at once.
func TestNeighbouringPairsDifferInBoth(t *testing.T) {
	targets := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1"), netip.MustParseAddrPort("127.0.0.1:2")}
	sources, _ := ParseSources("127.0.0.1-127.0.0.3")
	got, err := Pairs(targets, sources)
	if want := []Pair{{0, 0}, {1, 1}, {2, 0}, {0, 1}, {1, 0}, {2, 1}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}

// Loops that share a pair begin at ports of their own, and each goes round the range.
func TestNextPort(t *testing.T) {
	for place, want := range [][]int{{10, 11, 12, 13, 14, 10}, {12, 13, 14, 10, 11, 12}} {
		last := 0
		for i, port := range want {
			if last = NextPort(last, 10, 14, place, 2); last != port {
				t.Errorf("port %d of loop %d is %d, want %d", i, place, last, port)
			}
		}
	}
}
