package kernel

import (
	"bytes"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
)

func parsed(t *testing.T, text string) Counters {
	t.Helper()
	l, values, err := parseSNMP([]byte(text), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return Counters{l, values}
}

// fixture is snmp and netstat of a Linux 6.18.
func fixture(t testing.TB) string {
	t.Helper()
	var text strings.Builder
	for _, name := range []string{"testdata/snmp", "testdata/netstat"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text.Write(b)
	}
	return text.String()
}

func TestParseSNMPOfFixture(t *testing.T) {
	c := parsed(t, fixture(t))
	for _, want := range []struct {
		group, name string
		value       int64
	}{
		{"Ip", "Forwarding", 2},
		{"Tcp", "RtoMin", 200},
		{"Tcp", "MaxConn", -1},
		{"Tcp", "InCsumErrors", 0},
		{"TcpExt", "SyncookiesSent", 0},
		{"MPTcpExt", "WinProbe", 0},
	} {
		got, ok := c.Value(want.group, want.name)
		if !ok || got != want.value {
			t.Errorf("%s %s: got %d, %t, want %d", want.group, want.name, got, ok, want.value)
		}
	}
	if _, ok := c.Value("Tcp", "ListenOverflows"); ok {
		t.Error("a counter of TcpExt found in Tcp")
	}
	if names := strings.Count(fixture(t), " ") / 2; len(c.values) != names {
		t.Errorf("got %d counters, want %d", len(c.values), names)
	}
}

func TestParseSNMPRefuses(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "no counters"},
		{"no name", "Tcp:\nTcp:\n", "no counters"},
		{"half a line", "Tcp: A", "line 1: ends within"},
		{"no values", "Tcp: A\n", "line 1: no whole line of values"},
		{"half a line of values", "Tcp: A\nTcp: 1", "line 1: no whole line of values"},
		{"no colon", "Tcp A\nTcp 1\n", "line 1: want a group and a colon"},
		{"no group", ": A\n: 1\n", "line 1: want a group and a colon"},
		{"two spaces", "Tcp: A  B\nTcp: 1 2\n", "line 1: want fields set off by one space"},
		{"space at the end", "Tcp: A\nTcp: 1 \n", "line 2: want fields set off by one space"},
		{"no space", "Tcp:A\nTcp:1\n", "line 1: want fields set off by one space"},
		{"another group", "Tcp: A\nUdp: 1\n", "line 2: want values of Tcp"},
		{"a longer group", "Tcp: A\nTcpExt: 1\n", "line 2: want values of Tcp"},
		{"too few", "Ip: A\nIp: 1\nTcp: A B\nTcp: 1\n", "line 4: Tcp has 2 names and 1 values"},
		{"too many", "Tcp: A\nTcp: 1 2\n", "line 2: Tcp has 1 names and 2 values"},
		{"twice", "Tcp: A A\nTcp: 1 2\n", "line 1: Tcp A a second time"},
		{"twice in two lines", "Tcp: A\nTcp: 1\nTcp: A\nTcp: 1\n", "line 3: Tcp A a second time"},
		{"no number", "Tcp: A\nTcp: x\n", `line 2: Tcp: want a number, not "x"`},
		{"signed", "Tcp: A\nTcp: +1\n", "want a number"},
		{"fraction", "Tcp: A\nTcp: 1.5\n", "want a number"},
		{"65 bits", "Tcp: A\nTcp: 18446744073709551616\n", "want a number"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := parseSNMP([]byte(c.text), nil, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestSub(t *testing.T) {
	const before = "Tcp: MaxConn ActiveOpens CurrEstab\nTcp: -1 100 7\nNew: Kept\nNew: 1\n"
	for _, c := range []struct {
		name, after string
		want        Moved
	}{
		{"nothing moved", before, Moved{}},
		{"a counter and a state", "Tcp: MaxConn ActiveOpens CurrEstab\nTcp: -1 132 5\nNew: Kept\nNew: 1\n",
			Moved{"Tcp": {"ActiveOpens": 32, "CurrEstab": -2}}},
		{"an unknown one", "Tcp: MaxConn ActiveOpens CurrEstab\nTcp: -1 100 7\nNew: Kept\nNew: 3\n",
			Moved{"New": {"Kept": 2}}},
		{"a new line", "Tcp: MaxConn ActiveOpens CurrEstab\nTcp: -1 101 7\nIcmpMsg: InType3\nIcmpMsg: 4\nNew: Kept\nNew: 1\n",
			Moved{"Tcp": {"ActiveOpens": 1}, "IcmpMsg": {"InType3": 4}}},
		{"another order", "New: Kept\nNew: 2\nTcp: CurrEstab MaxConn ActiveOpens\nTcp: 7 -1 100\n",
			Moved{"New": {"Kept": 1}}},
		{"a line gone", "New: Kept\nNew: 1\n", Moved{}},
		{"wrapped", "Tcp: MaxConn ActiveOpens CurrEstab\nTcp: -1 100 18446744073709551615\nNew: Kept\nNew: 1\n",
			Moved{"Tcp": {"CurrEstab": -8}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			earlier := parsed(t, before)
			if got := parsed(t, c.after).Sub(earlier); !reflect.DeepEqual(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
			// The same where both share a layout, as two readings of one Net do.
			l, values, err := parseSNMP([]byte(c.after), earlier.layout, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := (Counters{l, values}).Sub(earlier); !reflect.DeepEqual(got, c.want) {
				t.Errorf("with a shared layout: got %v, want %v", got, c.want)
			}
		})
	}
	if got := (Counters{}).Sub(parsed(t, before)); len(got) != 0 {
		t.Errorf("nothing less something: got %v, want nothing", got)
	}
	if got := parsed(t, before).Sub(Counters{}); got["Tcp"]["ActiveOpens"] != 100 || got["Tcp"]["MaxConn"] != -1 {
		t.Errorf("something less nothing: got %v, want all of it", got)
	}
	if (Moved{})["Tcp"]["ActiveOpens"] != 0 {
		t.Error("a counter that stood still reads as something")
	}
}

// TestLayoutIsShared holds what makes a reading cheap, and that it goes no further
// than the names do.
func TestLayoutIsShared(t *testing.T) {
	first := parsed(t, "Tcp: A B\nTcp: 1 2\n")
	for text, same := range map[string]bool{
		"Tcp: A B\nTcp: 3 4\n":                 true,
		"Tcp: A C\nTcp: 3 4\n":                 false,
		"Tcp: A B\nTcp: 3 4\nUdp: A\nUdp: 1\n": false,
	} {
		l, _, err := parseSNMP([]byte(text), first.layout, nil)
		if err != nil {
			t.Fatal(err)
		}
		if (l == first.layout) != same {
			t.Errorf("%q: layout shared: %t, want %t", text, l == first.layout, same)
		}
	}
}

// render prints counters as the kernel does.
func render(c Counters) []byte {
	var text bytes.Buffer
	i := 0
	for _, g := range c.layout.groups {
		fmt.Fprintf(&text, "%s\n%s:", g.header, g.name)
		for range g.names {
			fmt.Fprintf(&text, " %d", c.values[i])
			i++
		}
		text.WriteByte('\n')
	}
	return text.Bytes()
}

// FuzzParseSNMP holds that what is accepted survives being printed and read again, and
// that a known layout changes nothing.
func FuzzParseSNMP(f *testing.F) {
	f.Add([]byte(fixture(f)))
	f.Add([]byte("Tcp: RtoMin MaxConn\nTcp: 200 -1\nIcmpMsg: InType3\nIcmpMsg: 18446744073709551615\n"))
	f.Add([]byte("Tcp:\nTcp:\nUdp: A\nUdp: 00\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		l, values, err := parseSNMP(text, nil, nil)
		if err != nil {
			if l != nil || values != nil {
				t.Fatal("counters beside an error")
			}
			return
		}
		c := Counters{l, values}
		if len(values) != len(l.index) {
			t.Fatalf("%d names, %d values", len(l.index), len(values))
		}
		again, values2, err := parseSNMP(render(c), l, nil)
		if err != nil {
			t.Fatalf("printed: %v", err)
		}
		if again != l || !reflect.DeepEqual(values, values2) {
			t.Fatalf("printed and read again: %v, want %v", values2, values)
		}
	})
}

func BenchmarkParseSNMP(b *testing.B) {
	text := []byte(fixture(b))
	l, values, err := parseSNMP(text, nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, values, err = parseSNMP(text, l, values); err != nil {
			b.Fatal(err)
		}
	}
}
