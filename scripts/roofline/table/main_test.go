package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// write fills a folder with eight rounds of every pairing, tcpbench at the given
// ratios to a yardstick that falls to a half in every second one.
func write(t *testing.T, a, c, d float64) string {
	t.Helper()
	folder := t.TempDir()
	put := func(name, format string, values ...any) {
		t.Helper()
		text := fmt.Sprintf(format, values...)
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const document = `{"rate": %g, "attempted": 1067, "succeeded": 1000, "open": 64,
		"failed": {"connect.refused": 1, "exchange.reset": 2},
		"cpu": {"client": {"us_per_connection": 40}, "server": null}}`
	const line = "attempted=1064 ok=1000 failed=0 open=64 seconds=1 rate=%g user_s=0.01 system_s=0.02\n"
	for round, base := range []float64{30000, 15000, 30000, 15000, 30000, 15000, 30000, 15000} {
		name := func(pairing, end string) string { return fmt.Sprintf("%s.%d.%s", pairing, round+1, end) }
		put(name("a", "json"), document, a*base)
		put(name("b", "kv"), line, base)
		put(name("f", "json"), document, 0.99*a*base)
		put(name("c", "json"), document, c*base)
		put(name("d", "kv"), line, d*base)
		put(name("e", "wrk"), "  Socket errors: connect 1, read 2, write 3, timeout 4\n"+
			"  Non-2xx or 3xx responses: 5\nRequests/sec:  %.2f\n", 0.5*base)
		put(name("b", "tw"), "990 0\n")
		put(name("e", "tw"), "500 490\n")
	}
	return folder
}

func TestTable(t *testing.T) {
	var out strings.Builder
	if err := run(&out, []string{"--rounds", "8", write(t, 0.86, 0.96, 0.91)}); err != nil {
		t.Fatal(err)
	}
	const want = `
                             conn/s                     of (b)  us/conn
client -> server             median      min      max   median   client   failed
(a) tcpbench -> tcpbench      19350    12900    25800    0.860     40.0       24
(b) C client -> C server      22500    15000    30000    1.000     30.0        0
(c) tcpbench -> C server      21600    14400    28800    0.960     40.0       24
(d) C client -> tcpbench      20475    13650    27300    0.910     30.0        0
(e) wrk -> C server, HTTP     11250     7500    15000    0.500        -      120
(f) (a), kernel watched       19156    12771    25542    0.851     40.0       24

NOISY: (a) ran at 12900 to 25800: the machine is shared; try more --rounds
NOISY: (b) ran at 15000 to 30000: the machine is shared; try more --rounds
NOISY: (c) ran at 14400 to 28800: the machine is shared; try more --rounds
NOISY: (d) ran at 13650 to 27300: the machine is shared; try more --rounds
NOISY: (e) ran at 7500 to 15000: the machine is shared; try more --rounds
NOISY: (f) ran at 12771 to 25542: the machine is shared; try more --rounds
(a) TIME_WAIT was not counted
(b) the client keeps 7920 of 7920 TIME_WAIT
(c) TIME_WAIT was not counted
(d) TIME_WAIT was not counted
(e) NOT COMPARABLE: the server keeps 3920 of 7920 TIME_WAIT
(f) TIME_WAIT was not counted
(e) connects from one address and pays the port search that others avoid

(c) the client  at least 0.95 of (b): 0.960 (0.960 to 0.960) of 8 rounds: above
(d) the server  at least 0.90 of (b): 0.910 (0.910 to 0.910) of 8 rounds: above
(a) both        at least 0.85 of (b): 0.860 (0.860 to 0.860) of 8 rounds: above
(f) watched     at least 0.98 of (a): 0.990 (0.990 to 0.990) of 8 rounds: above
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestBarMissed(t *testing.T) {
	var out strings.Builder
	folder := write(t, 0.84, 0.96, 0.91)
	if err := run(&out, []string{"--rounds", "8", folder}); !errors.Is(err, errMissed) {
		t.Errorf("0.84 for (a) gave %v, want %v", err, errMissed)
	}
	// What was not measured is not passed.
	if err := run(&out, []string{"--rounds", "8", "--pairings", "bcdf", folder}); !errors.Is(err, errMissed) {
		t.Errorf("no (a) gave %v, want %v", err, errMissed)
	}
}

// A ratio on its bar, and too few rounds, are neither passed nor missed.
func TestBarUndecided(t *testing.T) {
	folder := write(t, 0.86, 0.96, 0.91)
	var out strings.Builder
	if err := run(&out, []string{"--rounds", "4", folder}); !errors.Is(err, errUndecided) || !strings.Contains(out.String(), "too few for an interval: undecided") {
		t.Errorf("four rounds gave %v:\n%s", err, out.String())
	}
	// With more looks each one has a stricter level, for which eight rounds are too few.
	if err := run(&strings.Builder{}, []string{"--rounds", "8", "--looks", "20", folder}); !errors.Is(err, errUndecided) {
		t.Errorf("eight rounds that may be looked at twenty times gave %v", err)
	}
}

func TestNoVerdict(t *testing.T) {
	for _, test := range []struct{ name, file, text string }{
		{"lost connections", "b.1.kv", "attempted=9 ok=1 failed=1 open=1 rate=1 user_s=1 system_s=1"},
		{"a missing value", "b.1.kv", "ok=1"},
		{"lost connections", "a.1.json", `{"rate": 1, "attempted": 2, "succeeded": 1}`},
		{"no rate", "a.1.json", `{}`},
		{"not wrk", "e.1.wrk", "command not found"},
		{"not a count", "b.1.tw", "many"},
	} {
		folder := write(t, 1, 1, 1)
		if err := os.WriteFile(filepath.Join(folder, test.file), []byte(test.text), 0o600); err != nil {
			t.Fatal(err)
		}
		err := run(&strings.Builder{}, []string{"--rounds", "8", folder})
		if err == nil || errors.Is(err, errMissed) {
			t.Errorf("%s in %s gave %v, want an error", test.name, test.file, err)
		}
	}
	if err := run(&strings.Builder{}, []string{"--rounds", "9", write(t, 1, 1, 1)}); err == nil {
		t.Error("a missing round gave a verdict")
	}
}
