package loadgen

import (
	"bytes"
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"
)

func TestParseRate(t *testing.T) {
	for _, c := range []struct {
		text string
		want Rate
	}{
		{"500", 500_000}, {"2.5", 2500}, {"10k", 10_000_000}, {"1.5M", 1_500_000_000},
		{"500/s", 500_000}, {"10k/s", 10_000_000}, {"1e3", 1_000_000}, {"0.1k", 100_000},
		{"0.001", 1}, {"0.0014", 1}, {"0.0015", 2}, {"1000M", MaxRate}, {"1e9", MaxRate},
		{"1000000000", MaxRate}, {"0.3", 300}, {"1.005", 1005},
	} {
		got, err := ParseRate(c.text)
		if err != nil || got != c.want {
			t.Errorf("%q: %d, %v, want %d", c.text, got, err, c.want)
		}
	}
	for _, c := range []struct{ text, want string }{
		{"", "is no rate"}, {"k", "is no rate"}, {"/s", "is no rate"}, {"ten", "is no rate"},
		{"5 k", "is no rate"}, {"5K", "is no rate"}, {"5/m", "is no rate"}, {"5/s/s", "is no rate"},
		{"NaN", "is no rate"}, {"1kk", "is no rate"}, {"1..2", "is no rate"},
		{"0", "out of range"}, {"-5", "out of range"}, {"0.0009", "out of range"},
		{"1001M", "out of range"}, {"Inf", "out of range"}, {"-Inf", "out of range"}, {"1e300k", "out of range"},
	} {
		if got, err := ParseRate(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %d, %v, want an error with %q", c.text, got, err, c.want)
		}
	}
}

// What a result prints as a rate can be typed in again.
func TestRatePrintsWhatItReads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := anyRate().Draw(t, "rate")
		if got, err := ParseRate(rate.String()); err != nil || got != rate {
			t.Fatalf("%d prints as %q, which reads as %d, %v", rate, rate, got, err)
		}
	})
}

func FuzzParseRate(f *testing.F) {
	for _, seed := range []string{"500", "2.5", "10k", "1.5M/s", "0.001", "1000M", "NaN", "0x1p-3", "1_0", "-1", "1e400"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rate, err := ParseRate(text)
		if err != nil {
			return
		}
		if rate < 1 || rate > MaxRate {
			t.Fatalf("%q reads as %d", text, rate)
		}
		if again, err := ParseRate(rate.String()); err != nil || again != rate {
			t.Fatalf("%q reads as %d, that as %d, %v", text, rate, again, err)
		}
	})
}

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

func TestParseUntil(t *testing.T) {
	for _, c := range []struct {
		text   string
		want   Until
		prints string
	}{
		{"close", Until{Kind: PeerFIN}, "close"},
		{"bytes:1", Until{Kind: AtLeast, Bytes: 1}, "bytes:1"},
		{"bytes:1099511627776", Until{Kind: AtLeast, Bytes: 1 << 40}, "bytes:1099511627776"},
		{`\r\n\r\n`, Until{Kind: Match, Pattern: `\r\n\r\n`}, `\r\n\r\n`},
		{"bytes", Until{Kind: Match, Pattern: "bytes"}, "bytes"},
		{"(close)", Until{Kind: Match, Pattern: "(close)"}, "(close)"},
		{"^\\+PONG", Until{Kind: Match, Pattern: "^\\+PONG"}, "^\\+PONG"},
	} {
		got, err := ParseUntil(c.text)
		if err != nil || got != c.want || got.String() != c.prints {
			t.Errorf("%q: %+v, %v, prints %q, want %+v", c.text, got, err, got, c.want)
		}
	}
	for _, c := range []struct{ text, want string }{
		{"", "empty: want bytes:N, close or a regular expression"},
		{"bytes:", "want bytes:N with N from 1 to 1099511627776"},
		{"bytes:0", "want bytes:N with N from 1 to 1099511627776"},
		{"bytes:-3", "want bytes:N with N from 1 to 1099511627776"},
		{"bytes:1k", "want bytes:N with N from 1 to 1099511627776"},
		{"bytes:1099511627777", "want bytes:N with N from 1 to 1099511627776"},
		{"(", "neither bytes:N nor close nor a regular expression"},
		{`\q`, "neither bytes:N nor close nor a regular expression"},
	} {
		if got, err := ParseUntil(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %+v, %v, want an error with %q", c.text, got, err, c.want)
		}
	}
	if got := (Until{Kind: Exactly, Bytes: 3}).String(); got != "3 bytes" {
		t.Errorf("exactly three bytes print as %q", got)
	}
}

func FuzzParseUntil(f *testing.F) {
	for _, seed := range []string{"close", "bytes:1", "bytes:+7", "bytes:007", `\r\n\r\n`, "(", "a{1000}{1000}", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := ParseUntil(text)
		if err != nil {
			return
		}
		if again, err := ParseUntil(u.String()); err != nil || again != u {
			t.Fatalf("%q reads as %+v, prints as %q, reads as %+v, %v", text, u, u, again, err)
		}
		switch u.Kind {
		case PeerFIN:
		case AtLeast:
			if u.Bytes < 1 {
				t.Fatalf("%q: %d bytes", text, u.Bytes)
			}
		case Match:
			if _, err := regexp.Compile(u.Pattern); err != nil {
				t.Fatal(err)
			}
		default:
			t.Fatalf("%q: kind %q", text, u.Kind)
		}
	})
}

func TestParsePayload(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{`GET / HTTP/1.0\r\n\r\n`, "GET / HTTP/1.0\r\n\r\n"},
		{`\x00\xff\\\t`, "\x00\xff\\\t"},
		{`"it's"`, `"it's"`},
		{"\xff\n", "\xff\n"},
		{`ü\u00fc\U0001F600`, "üü😀"},
		{`\a\b\f\n\r\t\v\101`, "\a\b\f\n\r\t\vA"},
		{"*1\\r\\n$4\\r\\nPING\\r\\n", "*1\r\n$4\r\nPING\r\n"},
	} {
		got, err := ParsePayload(c.text)
		if err != nil || string(got) != c.want {
			t.Errorf("%q: %q, %v, want %q", c.text, got, err, c.want)
		}
	}
	for _, c := range []struct{ text, want string }{
		{`\`, `byte 1: unknown escape in "\\"`},
		{`ab\q`, `byte 3: unknown escape in "\\q"`},
		{`\x1`, `byte 1: unknown escape in "\\x1"`},
		{`\xg0`, `byte 1: unknown escape`},
		{`\ud800`, `byte 1: unknown escape in "\\ud8"`},
		{`\400`, `byte 1: unknown escape`},
		{`\'`, `byte 1: unknown escape`},
		{`\"`, `byte 1: unknown escape`},
	} {
		if got, err := ParsePayload(c.text); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %q, %v, want an error with %q", c.text, got, err, c.want)
		}
	}
}

func FuzzParsePayload(f *testing.F) {
	for _, seed := range []string{"", `GET / HTTP/1.0\r\n\r\n`, `\x00\xff`, `\`, `\x`, "\xff", `\u00fc`, `\ud800`, `\"'`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		payload, err := ParsePayload(text)
		if err == nil && len(payload) > len(text) {
			t.Fatalf("%q grew to %q", text, payload)
		}
		if err == nil && !strings.Contains(text, `\`) && string(payload) != text {
			t.Fatalf("%q reads as %q", text, payload)
		}
		// Whatever the bytes, escaping them all gives them back; and so does
		// leaving them as they are where they are text without a backslash.
		var escaped strings.Builder
		for _, b := range []byte(text) {
			fmt.Fprintf(&escaped, `\x%02x`, b)
		}
		if again, err := ParsePayload(escaped.String()); err != nil || !bytes.Equal(again, []byte(text)) {
			t.Fatalf("%q reads as %q, %v", escaped.String(), again, err)
		}
		if quoted := strings.Trim(fmt.Sprintf("%q", text), `"`); utf8.ValidString(text) && !strings.Contains(text, `"`) {
			if again, err := ParsePayload(quoted); err != nil || string(again) != text {
				t.Fatalf("%s reads as %q, %v, want %q", quoted, again, err, text)
			}
		}
	})
}
