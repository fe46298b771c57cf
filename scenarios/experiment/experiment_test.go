package experiment

import (
	"slices"
	"strings"
	"testing"

	"tcpbench/internal/alone"
	"tcpbench/internal/lab"
	"tcpbench/metrics"
)

// A name means the same wherever it stands, for a verdict does not say whose fact it reads.
func TestFactsMeanOneThing(t *testing.T) {
	units := map[string]string{}
	for _, e := range all {
		names := map[string]bool{}
		for i, f := range slices.Concat(e.Facts, e.LoopbackFacts()) {
			if i == len(e.Facts) {
				clear(names) // the same may be found out in either place
			}
			if names[f.Name] || f.Means == "" || strings.ContainsAny(f.Name, ". -") {
				t.Errorf("%s: %+v", e.Name, f)
			}
			names[f.Name] = true
			if unit, ok := units[f.Name]; ok && unit != f.Unit {
				t.Errorf("%s is of the unit %q in %s, and of %q elsewhere", f.Name, f.Unit, e.Name, unit)
			}
			units[f.Name] = f.Unit
		}
	}
	if len(Facts()) != len(units) {
		t.Errorf("%d names, %d facts", len(Facts()), len(units))
	}
}

// Every connection and listener of an experiment is gone with it, and its segments are in order.
func TestNothingStaysBehind(t *testing.T) {
	l, err := lab.New(lab.Link{Gated: true})
	if err != nil {
		alone.Needed(t, err.Error())
	}
	t.Cleanup(func() { l.Close() })
	var told []metrics.Event
	r, err := fourWayClose.Run(t.Context(), l, func(e metrics.Event) { told = append(told, e) })
	if err != nil {
		t.Fatal(err)
	}
	if len(told) != len(r.Events) {
		t.Errorf("told of %d events, %d happened", len(told), len(r.Events))
	}
	if !slices.IsSortedFunc(r.Events, func(x, y metrics.Event) int { return int((x.T - y.T) * 1e9) }) {
		t.Error("the events are not in order")
	}
	// The port is free: another experiment in the same lab may listen there.
	if _, err := handshake.Run(t.Context(), l, nil); err != nil {
		t.Error(err)
	}
	if l.ToServer.Held()+l.ToClient.Held() > 0 {
		t.Error("segments are held still")
	}
}
