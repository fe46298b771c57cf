package kernel

import (
	"strings"
	"testing"
)

const sockstatText = `sockets: used 13
TCP: inuse 5 orphan 1 tw 230 alloc 9 mem 313
UDP: inuse 0 mem 0
UDPLITE: inuse 0
RAW: inuse 0
FRAG: inuse 0 memory 0
`

const sockstat6Text = `TCP6: inuse 3
UDP6: inuse 1
UDPLITE6: inuse 0
RAW6: inuse 0
FRAG6: inuse 0 memory 0
`

func TestParseSockstat(t *testing.T) {
	want := Sockets{InUse: 5, TimeWait: 230, Orphan: 1, Alloc: 9, Mem: 313}
	with6 := want
	with6.InUse6 = 3
	for _, c := range []struct {
		name, text string
		want       Sockets
	}{
		{"without IPv6", sockstatText, want},
		{"with IPv6", sockstatText + sockstat6Text, with6},
		{"of a newer kernel", strings.Replace(sockstatText, "alloc", "ready -4 alloc", 1) + "SMC: inuse 7\n", want},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseSockstat([]byte(c.text))
			if err != nil || got != c.want {
				t.Errorf("got %+v, %v, want %+v", got, err, c.want)
			}
		})
	}
}

func TestParseSockstatRefuses(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "want a line of TCP"},
		{"IPv6 alone", sockstat6Text, "want a line of TCP"},
		{"a number missing", strings.Replace(sockstatText, " tw 230", "", 1), "want a line of TCP"},
		{"half a line", "sockets: used 13", "line 1: ends within"},
		{"no colon", "sockets used 13\n", "line 1: want a protocol and a colon"},
		{"no protocol", ": used 13\n", "line 1: want a protocol and a colon"},
		{"a name without number", sockstatText + "RAW6: inuse\n", "line 7: want pairs"},
		{"no number", "TCP: inuse many\n", "line 1: want pairs"},
		{"two spaces", "TCP: inuse  1\n", "line 1: want pairs"},
		{"negative", "TCP: inuse -1\n", "line 1: TCP inuse is negative"},
		{"twice", sockstatText + "TCP: inuse 1\n", "line 7: TCP inuse a second time"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parseSockstat([]byte(c.text))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func FuzzParseSockstat(f *testing.F) {
	f.Add([]byte(sockstatText))
	f.Add([]byte(sockstatText + sockstat6Text))
	f.Add([]byte("TCP: tw 1 tw -1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := parseSockstat(text)
		if err != nil && s != (Sockets{}) {
			t.Errorf("%+v beside %v", s, err)
		}
		if min(s.InUse, s.InUse6, s.TimeWait, s.Orphan, s.Alloc, s.Mem) < 0 {
			t.Errorf("negative: %+v", s)
		}
	})
}

func BenchmarkParseSockstat(b *testing.B) {
	text := []byte(sockstatText + sockstat6Text)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := parseSockstat(text); err != nil {
			b.Fatal(err)
		}
	}
}
