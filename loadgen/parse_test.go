package loadgen

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

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
