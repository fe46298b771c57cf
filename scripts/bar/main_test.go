package main

import (
	"strings"
	"testing"

	"tcpbench/metrics/compare"
)

func TestRun(t *testing.T) {
	eight := func(round string) string { return strings.Repeat(round+"\n", 8) }
	for _, tt := range []struct {
		in, says string
		want     compare.Position
	}{
		{eight("1000 990"), "at least 0.98: 0.990 (0.990 to 0.990) of 8 rounds: above\n", compare.Above},
		{eight("1000 970"), "at least 0.98: 0.970 (0.970 to 0.970) of 8 rounds: below\n", compare.Below},
		{"1000 970\n1000 970\n", "at least 0.98: 0.970 of 2 rounds, too few for an interval: undecided\n", compare.Undecided},
		{"", "", ""}, {"1000\n", "", ""}, {"1000 x\n", "", ""}, {"0 5\n", "", ""},
	} {
		var out strings.Builder
		got, err := run(strings.NewReader(tt.in), &out, []string{"--at-least", "0.98", "--looks", "5"})
		if got != tt.want || (err != nil) != (tt.want == "") || out.String() != tt.says {
			t.Errorf("%q: %q, %q, %v", tt.in, got, out.String(), err)
		}
	}
}
