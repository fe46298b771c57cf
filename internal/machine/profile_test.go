package machine

import (
	"strings"
	"testing"
)

func TestParseProfile(t *testing.T) {
	for text, want := range map[string]string{
		"net.ipv4.tcp_tw_reuse": "test:1: .*key = value",
		"\n= 1":                 "test:2: .*without a key",
		"net.ipv4.conf.*.x = 1": "test:1: .*patterns",
		"a..b = 1":              "test:1: .*no key",
		"../../etc/passwd = 1":  "no key",
		"/../x = 1":             "no key",
		strings.Repeat("a", longestLine+1) + "=1": "token too long",
		"a.b = \x00": "zero byte",
	} {
		if _, err := ParseProfile("test", strings.NewReader(text)); err == nil || !matches(want, err.Error()) {
			t.Errorf("%.40q: %v, want %q", text, err, want)
		}
	}
	p, err := ParseProfile("test", strings.NewReader("net/ipv4/conf/eth0.100/rp_filter = 0\n -a.b=\n"))
	if err != nil || len(p.Settings) != 2 {
		t.Fatal(p, err)
	}
	if s := p.Settings[0]; File(s.Key) != "/proc/sys/net/ipv4/conf/eth0.100/rp_filter" || s.Line != 1 {
		t.Errorf("%+v stands in %s", s, File(s.Key))
	}
	if s := p.Settings[1]; !s.Optional || s.Key != "a.b" || s.Value != "" {
		t.Errorf("%+v", s)
	}
	if rest := p.Without("a.b"); len(rest.Settings) != 1 || len(p.Settings) != 2 {
		t.Errorf("%+v", rest)
	}
}

// No key leads out of /proc/sys.
func FuzzParseProfile(f *testing.F) {
	f.Add("net.ipv4.tcp_tw_reuse = 1\n")
	f.Add("-net/ipv4/x.y/z = a b\n;\n#")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParseProfile("fuzz", strings.NewReader(text))
		if err != nil {
			return
		}
		for _, s := range p.Settings {
			if name := File(s.Key); !strings.HasPrefix(name, "/proc/sys/") || strings.Contains(name, "/../") {
				t.Errorf("%q stands in %q", s.Key, name)
			}
		}
	})
}

func matches(pattern, text string) bool {
	for part := range strings.SplitSeq(pattern, ".*") {
		_, after, found := strings.Cut(text, part)
		if !found {
			return false
		}
		text = after
	}
	return true
}
