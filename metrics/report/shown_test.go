package report

import (
	"io"
	"testing"

	"tcpbench/metrics"
)

func TestShown(t *testing.T) {
	const filter = "make a user namespace: operation not permitted (EPERM): a seccomp filter forbids it"
	sum := metrics.NewShown()
	failed := crossed(t)
	standing, why := metrics.StandingOf(failed)
	if standing != metrics.NotReproduced || why != "" {
		t.Errorf("%s %s", standing, why)
	}
	one := metrics.ShownScenario{Name: "crossed", Standing: standing, TookS: 3, Result: failed}
	sum.Add(metrics.ShownScenario{Name: "short", Standing: metrics.Measured, TookS: 11, Result: failed})
	sum.Add(one)
	for _, name := range []string{"handshake", "mss", "simultaneous-close"} {
		sum.Add(metrics.ShownScenario{Name: name, Standing: metrics.CannotRun, Why: filter, Lift: "in Docker: --security-opt seccomp=unconfined"})
	}
	sum.Add(metrics.ShownScenario{Name: "time-wait-length", Standing: metrics.CannotRun, Why: "/proc/sys is read-only", Lift: "mount it"})
	sum.Add(metrics.ShownScenario{Name: "long", Standing: metrics.Undecided, Why: "the server died"})
	begun := *sum
	abilities := []metrics.Ability{
		{Name: "network namespaces", Can: true, For: "tcpbench lab, tcpbench compare", Scenarios: make([]string, 25)},
		{Name: "descriptors", Can: true, Amount: "1,048,576", For: "--connections"},
		{Name: "BPF tracepoints", For: "--bpf", Why: "the process has neither CAP_BPF nor CAP_PERFMON", Lift: "run as root"},
		{Name: "user namespaces", For: "labs without root", Why: filter, Lift: "run as root"},
		{Name: "packet capture", For: "--pcap", Why: filter, Lift: "run as root"},
	}
	drawnAsGolden(t, map[string]func(io.Writer) error{
		"line":            func(w io.Writer) error { return Line(w, &one, Style{}) },
		"sum":             func(w io.Writer) error { return Sum(w, &begun, Style{}) },
		"sum-narrow":      func(w io.Writer) error { return Sum(w, &begun, Style{Width: 60}) },
		"abilities":       func(w io.Writer) error { return Abilities(w, abilities, Style{}) },
		"abilities-color": func(w io.Writer) error { return Abilities(w, abilities, Style{Color: true}) },
	})
}
