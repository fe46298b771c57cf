package values

import (
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"pgregory.net/rapid"
)

func TestNearest(t *testing.T) {
	words := []string{"run", "lab", "server", "poisson", "constant", "time-wait", "json", "rst", "fin", "tcp_tw_reuse"}
	for typed, want := range map[string]string{
		"rnu": "run", "runn": "run", "sever": "server", "possion": "poisson", "time-wiat": "time-wait", "jsn": "json",
		"tcp_tw_resue": "tcp_tw_reuse", "get": "", "x": "", "frobnicate": "", "": "",
	} {
		if got := Nearest(typed, words); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", typed, got, want)
		}
	}
}

// A distance is none of a word to itself, the same both ways, and one of one slip.
func TestEditDistance(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[a-d]{0,8}`)
		a, b := word.Draw(t, "a"), word.Draw(t, "b")
		d := editDistance(a, b)
		if (d == 0) != (a == b) || d != editDistance(b, a) || d > max(len(a), len(b)) || d < len(a)-len(b) {
			t.Errorf("%q and %q: %d", a, b, d)
		}
		if len(a) < 2 {
			return
		}
		i := rapid.IntRange(0, len(a)-2).Draw(t, "i")
		swapped := a[:i] + string(a[i+1]) + string(a[i]) + a[i+2:]
		if d := editDistance(a, swapped); d > 1 {
			t.Errorf("%q and %q: %d", a, swapped, d)
		}
	})
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]string{
		"3sec": "3s", "3 s": "3s", "10secs": "10s", "10": "10s", "3S": "3s", "1.5 minutes": "1.5m", "2hrs": "2h", "500msec": "500ms",
		"3s": "", "x": "", "": "", "3 parsecs": "", "-1": "",
	} {
		if got := Duration(text); got != want {
			t.Errorf("Duration(%q) = %q, want %q", text, got, want)
		}
	}
}

// What a flag refuses it takes as the error suggests.
func TestFlagsSayWhatMayBeMeant(t *testing.T) {
	type word string
	var (
		size  uint32
		which word
		n     int
		ports []uint16
	)
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.Var(New(&size, "", "BYTES", Size), "size", "")
	f.Var(Word(&which, "constant", "poisson"), "word", "")
	f.Var(New(&ports, "", "PORTS", Ports), "ports", "")
	f.Var(Whole(&n, 0, 1e6), "n", "")
	for _, c := range []struct{ flag, text, want string }{
		{"size", "4K", "4k"}, {"size", "4KB", "4k"}, {"size", "1 MiB", "1M"}, {"size", "4kk", "4k"}, {"size", "x", ""}, {"size", "17M", ""},
		{"word", "possion", "poisson"}, {"word", "Constant", "constant"}, {"word", "xyzzy", ""},
		{"n", "10k", "10000"}, {"n", "1,000", "1000"}, {"n", "1.5", ""}, {"n", "x", ""}, {"n", "10m", ""},
		{"ports", "x", ""},
	} {
		err := Wanted(f.Set(c.flag, c.text))
		if err == nil {
			t.Errorf("--%s %s is taken", c.flag, c.text)
			continue
		}
		if _, meant, _ := strings.Cut(err.Error(), ": did you mean "); strings.TrimSuffix(meant, "?") != c.want {
			t.Errorf("--%s %s: %v, want %q", c.flag, c.text, err, c.want)
		}
		if c.want != "" {
			if err := f.Set(c.flag, c.want); err != nil {
				t.Errorf("--%s does not take what it suggests: %v", c.flag, err)
			}
		}
	}
}
