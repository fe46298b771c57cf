package main

import (
	"strings"
	"testing"
	"time"

	"tcpbench/scenarios"
	"tcpbench/scenarios/workload"
)

// A run of a comparison is as long as the help of compare says: quickRun for short, and what
// its file says for every other scenario.
func TestLengthOfACompare(t *testing.T) {
	quick, err := time.ParseDuration(quickRun)
	if err != nil {
		t.Fatal(err)
	}
	length := func(s *scenarios.Scenario, over []workload.Setting) time.Duration {
		plans, err := s.Plans(t.Context(), over)
		if err != nil {
			t.Fatal(err)
		}
		return plans[0].Plan.Client.Duration + plans[0].Plan.Client.HoldFor
	}
	c := newCompare(nil)
	for _, s := range scenarios.Builtins() {
		if s.Experiment() || s.OwnLabs() {
			continue
		}
		want := length(s, nil)
		if strings.Contains(c.Long, "A run of "+s.Name+" is "+quickRun+" long") {
			want = quick
		}
		sub, _, err := c.Find([]string{s.Name})
		if err != nil {
			t.Fatal(err)
		}
		if got := length(s, overrides(sub, s)); got != want {
			t.Errorf("a run of %s takes %v, and the help says %v", s.Name, got, want)
		}
	}
	if short, _ := scenarios.Find(scenarios.Short); length(short, nil) != 10*time.Second || !strings.Contains(newRoot().Example, "own server, loopback, 10 s") {
		t.Error("the first example of the help says how long a run of short takes")
	}
}
