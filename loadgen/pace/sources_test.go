package pace

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
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
