package report

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tcpbench/metrics"
)

// crossed is an experiment with every kind of event.
func crossed(t *testing.T) *metrics.Result {
	t.Helper()
	r := &metrics.Result{
		Scenario: metrics.Scenario{Name: "crossed"}, ElapsedS: 0.0123,
		Lab: &metrics.Lab{Client: metrics.LabHost{Profile: "kernel-default"}, Server: metrics.LabHost{Profile: "kernel-default"}},
		Experiment: &metrics.Experiment{
			Events: []metrics.Event{
				{T: 0.0001, Kind: metrics.Act, Of: "client", Text: "connect()"},
				{T: 0.0002, Kind: metrics.Change, Of: "client", Text: "SYN_SENT"},
				{T: 0.0003, Kind: metrics.Carried, Of: "client", Text: "SYN seq 0 mss 1460", Fate: "held"},
				{T: 0.0004, Kind: metrics.Carried, Of: "client", Text: "SYN seq 0 mss 1460", Fate: "released"},
				{T: 0.0005, Kind: metrics.Carried, Of: "server", Text: "SYN+ACK seq 0 ack 1 mss 1460", Fate: "held"},
				{T: 0.0006, Kind: metrics.Carried, Of: "server", Text: "SYN+ACK seq 0 ack 1 mss 1460", Fate: "released"},
				{T: 0.0007, Kind: metrics.Carried, Of: "client", Text: "ACK ack 1", Fate: "lost", Connection: "second"},
				{T: 0.0008, Kind: metrics.Carried, Of: "server", Text: "FIN+ACK seq 1 ack 1", Fate: "lost"},
				{T: 0.0009, Kind: metrics.Carried, Of: "server", Text: "PSH+ACK seq 1 ack 1 1000 bytes"},
				{T: 0.00092, Kind: metrics.Carried, Of: "server", Text: "PSH+ACK seq 1 ack 1 1000 bytes", Label: "retransmission"},
				{T: 0.00094, Kind: metrics.Carried, Of: "client", Text: "ACK seq 0 ack 1", Label: "keepalive", Fate: "lost"},
				{T: 0.001, Kind: metrics.Act, Of: "server", Text: "net.ipv4.tcp_abort_on_overflow = 1 and then something that is told at length"},
				{T: 12, Kind: metrics.Remark, Text: "nothing more happens, which takes a while to tell and does not fit into one line"},
				{T: 12.5, Kind: metrics.Change, Of: "server", Text: "CLOSED", Connection: "second"},
			},
		},
		Kernel: []metrics.Namespace{{Of: "client", Counters: map[string]map[string]int64{"TcpExt": {"TCPSynRetrans": 2}, "Tcp": {"ActiveOpens": 1}}}},
		Flags:  []metrics.Flag{{Name: "noisy-host", Why: "It was."}},
	}
	r.Verdict = &metrics.Verdict{Claim: "Things happen.", Steps: []string{"Both ends do something.", "A long step that does not fit into one line of a terminal of the usual width goes on in the next."}, Production: "Be prepared.", Evidence: []metrics.Expectation{{
		Expression: `seen.path == "A B"`, Values: []metrics.Value{{Name: "seen.path", Unit: "text", Text: "A C"}},
	}}}
	r.Verdict.Decide(r)
	return r
}

// sideBySide has two phases to compare.
func sideBySide(t *testing.T) *metrics.Result {
	t.Helper()
	one, other := *healthy(t), *failing(t)
	one.Kernel = []metrics.Namespace{{Of: "client", Timeline: metrics.Timeline{T: []float64{0, 1}, Sockets: map[string][]int64{"client.TIME_WAIT": {3, 9}}}}}
	r := healthy(t)
	r.Phases = []metrics.Phase{{Name: "nothing", Why: "As it is.", Result: one}, {Name: "remedy", Why: "DANGEROUS. What helps, and costs more than it is worth on any day.", Result: other}}
	r.Verdict = &metrics.Verdict{Claim: "One is better.", Production: "Take it.", Outcome: metrics.Reproduced}
	return r
}

// frozen is a run whose server was stopped during a burst.
func frozen(t *testing.T) *metrics.Result {
	t.Helper()
	r := sideBySide(t)
	for i := range r.Phases {
		a := &r.Phases[i]
		a.Scenario.Settings = map[string]string{"freeze": "the server is stopped"}
		a.Bursts = []metrics.BurstRow{{Issued: 130}}
		a.Kernel = []metrics.Namespace{{Of: "both", Listeners: []metrics.Queue{{Addr: "127.0.0.1:9000", Peak: 65, Limit: 64, Drops: int64(65 * i)}}}}
	}
	return r
}

// tabular is an experiment with a table.
func tabular(t *testing.T) *metrics.Result {
	t.Helper()
	r := crossed(t)
	r.Experiment.Table = &metrics.Table{Head: []string{"", "client notices", "predicted"}, Rows: []metrics.TableRow{
		{Name: "answered, stopped", Cells: []metrics.Value{{Value: 632e6, Unit: "ns"}, {Unit: "text", Text: "500–750 ms"}}},
		{Name: "heard, stopped", Cells: []metrics.Value{{Unit: "text", Text: "no"}}},
	}}
	return r
}

func TestShownMatchesTheGoldens(t *testing.T) {
	slow := healthy(t)
	recorder := metrics.NewRecorder()
	for ns, n := range map[int64]int64{2e5: 70, 1_010_000_000: 20, 3_020_000_000: 5} {
		recorder.RecordMany(ns, n)
	}
	connect, err := recorder.Export()
	if err != nil {
		t.Fatal(err)
	}
	slow.Histograms[metrics.Connect] = connect
	slow.Verdict = &metrics.Verdict{Claim: "Steps.", Outcome: metrics.Reproduced}
	interrupted := crossed(t)
	interrupted.Flags = append(interrupted.Flags, metrics.Flag{Name: "interrupted", Why: "It ended early."})
	interrupted.Verdict.Evidence = append(interrupted.Verdict.Evidence, metrics.Expectation{Expression: "seen.end > 0", Reason: "no sample: seen.end"})
	interrupted.Verdict.Decide(interrupted)
	drawnAsGolden(t, map[string]func(io.Writer) error{
		"ladder":             func(w io.Writer) error { return Text(w, crossed(t), Style{}) },
		"ladder-narrow":      func(w io.Writer) error { return Text(w, crossed(t), Style{Width: 60}) },
		"ladder-interrupted": func(w io.Writer) error { return Text(w, interrupted, Style{}) },
		"arms-stopped":       func(w io.Writer) error { return Text(w, frozen(t), Style{}) },
		"ladder-table":       func(w io.Writer) error { return Text(w, tabular(t), Style{}) },
		"arms":               func(w io.Writer) error { return Text(w, sideBySide(t), Style{}) },
		"steps":              func(w io.Writer) error { return Text(w, slow, Style{}) },
	})
}

// No line of the ladder is wider than the page.
func TestLaddersFit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := &metrics.Experiment{}
		for range rapid.IntRange(0, 5).Draw(t, "events") {
			e.Events = append(e.Events, metrics.Event{
				T: rapid.Float64Range(0, 1e4).Draw(t, "t"), Text: rapid.String().Draw(t, "text"), Of: rapid.SampledFrom([]string{"", "client", "server"}).Draw(t, "of"),
				Kind: rapid.SampledFrom([]metrics.EventKind{metrics.Act, metrics.Change, metrics.Carried, metrics.Remark, "?"}).Draw(t, "kind"),
				Fate: rapid.SampledFrom([]string{"", "held", "lost", "released", "?"}).Draw(t, "fate"), Connection: rapid.StringN(0, 20, 80).Draw(t, "connection"), Label: rapid.SampledFrom([]string{"", "retransmission"}).Draw(t, "label"),
			})
		}
		width := rapid.IntRange(60, 130).Draw(t, "width")
		var b bytes.Buffer
		if err := Text(&b, &metrics.Result{Experiment: e, Verdict: &metrics.Verdict{}}, Style{Width: width}); err != nil {
			t.Fatal(err)
		}
		for line := range strings.SplitSeq(b.String(), "\n") {
			if columns(line) > width {
				t.Fatalf("%d columns, want %d at most: %q", columns(line), width, line)
			}
		}
	})
}
