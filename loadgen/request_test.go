package loadgen

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"tcpbench/metrics"
)

func template(t testing.TB, text string) Template {
	t.Helper()
	parsed, err := ParseTemplate(text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func filled(t Template, seed, n uint64) string {
	b := slices.Clone(t.Text)
	t.Fill(b, seed, n)
	return string(b)
}

func TestParseTemplate(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", "^$"},
		{`PING\r\n`, "^PING\r\n$"},
		{"get {{n}}", "^get 00000042$"},
		{"get {{n:3}} {{n:1}}", "^get 042 2$"},
		{`\\{{n:2}}\n`, `^\\42` + "\n$"},
		{"{{rand:4}}{{hex}}", "^[0-9]{4}[0-9a-f]{8}$"},
		{`{"id":{{n:2}}}`, `^{"id":42}$`},
		{`\x7b{n}}`, `^{{n}}$`},
		{"}} {", "^}} {$"},
	} {
		if got := filled(template(t, tt.text), 1, 42); !regexp.MustCompile(tt.want).MatchString(got) {
			t.Errorf("%q makes %q, want %s", tt.text, got, tt.want)
		}
	}
	for text, want := range map[string]string{
		"{{":            "has no }}",
		"{{n":           "has no }}",
		"{{x}}":         "want {{n:8}}",
		"{{n:0}}":       "width of 1 to 18",
		"{{n:19}}":      "width of 1 to 18",
		"{{hex:17}}":    "width of 1 to 16",
		"{{n:}}":        "width of 1 to 18",
		"{{{n}}":        "want {{n:8}}",
		`a\q{{n}}`:      "unknown escape",
		"{{n:99999999}": "has no }}",
	} {
		if _, err := ParseTemplate(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestParseLines(t *testing.T) {
	all, err := ParseLines("GET {{n:2}}\\r\\n\n\nGET b\r\nGET c")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range all {
		got = append(got, filled(r, 0, 7))
	}
	if want := []string{"GET 07\r\n", "GET b", "GET c"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for content, want := range map[string]string{"": "no line", "\n\r\n": "no line", "a\n\\q": "line 2"} {
		if _, err := ParseLines(content); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", content, err, want)
		}
	}
}

// Whatever is read as a template fits itself: its fields lie in its text, and filling
// changes nothing outside of them.
func FuzzParseTemplate(f *testing.F) {
	for _, seed := range []string{"", `GET /{{n:8}} {{rand}}\r\n`, "{{hex:16}}{{n:18}}", "{{", "}}", "{{n:-1}}", "{{n:+1}}", `\x7b{`, "{{rand:1}}}}", "\xff{{n}}"} {
		f.Add(seed, uint64(1), uint64(2))
	}
	f.Fuzz(func(t *testing.T, text string, seed, n uint64) {
		parsed, err := ParseTemplate(text)
		if err != nil {
			return
		}
		if len(parsed.Text) > 0 {
			if err := parsed.validate(); err != nil {
				t.Fatalf("%q: %v", text, err)
			}
		}
		got := filled(parsed, seed, n)
		if filled(parsed, seed, n) != got {
			t.Fatalf("%q is filled twice, and not the same", text)
		}
		at := 0
		for _, field := range append(parsed.Fields, Field{At: len(parsed.Text)}) {
			if got[at:field.At] != string(parsed.Text[at:field.At]) {
				t.Fatalf("%q: filled outside of a field: %q", text, got)
			}
			at = field.At + field.Width
			if strings.Trim(got[field.At:at], "0123456789abcdef") != "" {
				t.Fatalf("%q: a field has %q", text, got[field.At:at])
			}
		}
	})
}

// What is escaped reads as itself.
func FuzzEscape(f *testing.F) {
	for _, seed := range []string{"", "-DENIED\r\n", "\x00\xff\\", "ü\u200b", `"'`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		text := metrics.Escape(b)
		got, err := ParsePayload(text)
		if err != nil || string(got) != string(b) {
			t.Fatalf("%q is %q, that is %q, %v", b, text, got, err)
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
