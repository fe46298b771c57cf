package kernel

import (
	"strings"
	"testing"

	"tcpbench/metrics"
)

func TestParseSoftnet(t *testing.T) {
	const line = " 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000\n"
	for _, tt := range []struct {
		text string
		want metrics.Softnet
		err  string
	}{
		{"0000000a 00000001 00000002" + line + "ffffffff 00000000 00000010" + line, metrics.Softnet{Processed: 10 + 0xffffffff, Dropped: 1, Squeezed: 18}, ""},
		{"", metrics.Softnet{}, "no processor"},
		{"1 2\n", metrics.Softnet{}, "line 1: 2 columns"},
		{"1 2 3\n1 x 3\n", metrics.Softnet{}, "line 2: column 2"},
		{"1 2 100000000\n", metrics.Softnet{}, "column 3"},
	} {
		got, err := parseSoftnet(tt.text)
		if (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: %v, want %q", tt.text, err, tt.err)
		}
		if err == nil && got != tt.want {
			t.Errorf("%q: %+v, want %+v", tt.text, got, tt.want)
		}
	}
	// The kernel's counters have 32 bits, and wrap.
	got := since(metrics.Softnet{Processed: 5, Dropped: 7, Squeezed: 1}, metrics.Softnet{Processed: 0xfffffff0, Dropped: 6, Squeezed: 1})
	if got != (metrics.Softnet{Processed: 21, Dropped: 1}) {
		t.Errorf("%+v", got)
	}
	if s, err := ReadSoftnet(); err != nil || s.Processed == 0 {
		t.Errorf("%+v, %v", s, err)
	}
}

func FuzzSoftnet(f *testing.F) {
	f.Add("0000000a 00000001 00000002\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseSoftnet(text)
		if err == nil && (s.Processed < 0 || s.Dropped < 0 || s.Squeezed < 0) {
			t.Errorf("%+v", s)
		}
	})
}
