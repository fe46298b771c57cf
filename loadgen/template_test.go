package loadgen

import (
	"regexp"
	"slices"
	"strings"
	"testing"

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
