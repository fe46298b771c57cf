package report

import (
	"strings"
	"testing"

	"tcpbench/metrics"
)

// A direction of the link shows what it did on purpose and otherwise.
func TestLinks(t *testing.T) {
	for want, l := range map[string]metrics.LabLink{
		"":             {Verbs: map[string]metrics.LabVerb{"hold": {Asked: 1, Done: 1}}}, // the ladder shows it
		"rate=8000bit": {Impairment: "rate=8000bit"},
		"loss=1%, loss lost 12 of 1,200 packets": {
			Impairment: "loss=1%", Lost: 12, Verbs: map[string]metrics.LabVerb{"loss": {Asked: 1200, Done: 12}},
		},
		"drop=syn,delay=1ms, drop lost 1 of 9 packets, delayed 7 of 8, 99 % at most 90 µs late, 2 lost because too many came at once, 3 refused: too long, or the device was down": {
			Impairment: "drop=syn,delay=1ms", Verbs: map[string]metrics.LabVerb{"drop": {Asked: 9, Done: 1}, "delay": {Asked: 8, Done: 7}},
			Lost: 1, LateP99: 90_000, Overflows: 2, Refused: 3,
		},
		"loss=1%, 5 packets lost by that": {Impairment: "loss=1%", Lost: 5}, // of an old document
	} {
		if got := link(&l, false); strings.ReplaceAll(got, "90.0", "90") != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := link(&metrics.LabLink{}, true); got != "what its timeline says" {
		t.Errorf("%q", got)
	}
}
