package metrics

import (
	"maps"
	"math"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func anyHistograms() *rapid.Generator[map[string]Histogram] {
	return rapid.Custom(func(t *rapid.T) map[string]Histogram {
		name := rapid.SampledFrom([]string{"", "", "", Connect, Lifetime}).Draw(t, "name")
		if name == "" { // mostly: merging them has tests of its own, and is slow under the race detector
			return nil
		}
		return map[string]Histogram{name: export(t, recorderOf(latencies(0).Draw(t, "values")))}
	})
}

func anyClientReport() *rapid.Generator[ClientReport] {
	return rapid.Custom(func(t *rapid.T) ClientReport {
		n := rapid.Uint64Max(1 << 40)
		ns := rapid.Int64Range(0, 1<<50)
		return ClientReport{
			Tally:  anyTally().Draw(t, "tally"),
			InTime: n.Draw(t, "in time"), EndedInTime: n.Draw(t, "ended in time"),
			ElapsedNS: ns.Draw(t, "elapsed"),
			SYNs:      n.Draw(t, "syns"), Established: n.Draw(t, "established"),
			ExhaustedNS: ns.Draw(t, "exhausted"),
			Histograms:  anyHistograms().Draw(t, "histograms"),
			Loops:       make([]LoopReport, rapid.IntRange(0, 3).Draw(t, "loops")),
			UserNS:      ns.Draw(t, "user"), SystemNS: ns.Draw(t, "system"), MaxRSS: n.Draw(t, "rss"),
		}
	})
}

func merged(t *rapid.T, parts ...ClientReport) ClientReport {
	sum := parts[0]
	for _, p := range parts[1:] {
		if err := sum.Merge(p); err != nil {
			t.Fatal(err)
		}
	}
	return sum
}

func TestClientReportsMergeInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		one := anyClientReport()
		a, b, c := one.Draw(t, "a"), one.Draw(t, "b"), one.Draw(t, "c")
		failed, loops := maps.Clone(a.Failed), slices.Clone(a.Loops)
		want := merged(t, a, b, c)
		var got ClientReport
		turned := rapid.Bool().Draw(t, "turned")
		if turned {
			got = merged(t, c, a, b)
		} else {
			got = merged(t, a, merged(t, b, c))
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("turned %t: %+v, want %+v", turned, got, want)
		}
		if err := want.Balance(); err != nil {
			t.Fatal(err)
		}
		if want.ElapsedNS != max(a.ElapsedNS, b.ElapsedNS, c.ElapsedNS) || want.SYNs != a.SYNs+b.SYNs+c.SYNs {
			t.Fatalf("elapsed %d, syns %d", want.ElapsedNS, want.SYNs)
		}
		if !maps.Equal(failed, a.Failed) || !slices.Equal(loops, a.Loops) {
			t.Fatal("merging into a copy changed the original")
		}
	})
}

func TestClientReportMerge(t *testing.T) {
	loops := append(make([]LoopReport, 0, 8), LoopReport{Turns: 1})
	first := ClientReport{Loops: loops}
	second := ClientReport{Stopped: "interrupted", Loops: []LoopReport{{Turns: 2}}}
	third := ClientReport{Stopped: "a loop failed", Loops: []LoopReport{{Turns: 3}}}

	sum := first
	for _, r := range []ClientReport{second, third} {
		if err := sum.Merge(r); err != nil {
			t.Fatal(err)
		}
	}
	if sum.Stopped != "interrupted" {
		t.Errorf("stopped %q, want the first reason", sum.Stopped)
	}
	if want := []LoopReport{{Turns: 1}, {Turns: 2}, {Turns: 3}}; !slices.Equal(sum.Loops, want) {
		t.Errorf("loops %v, want %v", sum.Loops, want)
	}
	if spare := loops[:2][1]; spare != (LoopReport{}) {
		t.Errorf("merging into a copy wrote %v behind the original", spare)
	}
}

func TestClientReportMergeWithDamageChangesNothing(t *testing.T) {
	sound := ClientReport{SYNs: 1, Histograms: map[string]Histogram{Connect: export(t, recorderOf([]int64{5}))}}
	sum := sound
	err := sum.Merge(ClientReport{SYNs: 1, Histograms: map[string]Histogram{Connect: {Unit: "ns", HDR: "damaged"}}})
	if err == nil {
		t.Error("no error")
	}
	if !reflect.DeepEqual(sum, sound) {
		t.Errorf("%+v, want %+v", sum, sound)
	}
}

func TestServerReportsMergeInAnyOrder(t *testing.T) {
	report := rapid.Custom(func(t *rapid.T) ServerReport {
		n := rapid.Uint64Max(1 << 40)
		r := ServerReport{Open: n.Draw(t, "open"), Exchanges: n.Draw(t, "exchanges")}
		r.Closed = rapid.MapOf(rapid.SampledFrom([]string{"completed", "reset", "timeout"}), n).Draw(t, "closed")
		r.Accepted = r.Open
		for _, n := range r.Closed {
			r.Accepted += n
		}
		return r
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := report.Draw(t, "a"), report.Draw(t, "b")
		before := maps.Clone(a.Closed)
		sum, other := a, b
		sum.Merge(b)
		other.Merge(a)
		if !reflect.DeepEqual(sum, other) {
			t.Fatalf("a+b = %+v, b+a = %+v", sum, other)
		}
		total := sum.Open
		for _, n := range sum.Closed {
			total += n
		}
		if sum.Accepted != total || sum.Exchanges != a.Exchanges+b.Exchanges {
			t.Fatalf("%+v: open + closed is %d", sum, total)
		}
		if !maps.Equal(before, a.Closed) {
			t.Fatal("merging into a copy changed the original")
		}
	})
	var empty ServerReport
	empty.Merge(ServerReport{})
	if empty.Closed == nil {
		t.Error("closed is nil, which JSON shows as null")
	}
}

func TestMergeIntervals(t *testing.T) {
	connect := func(values ...int64) Histogram { return export(t, recorderOf(values)) }
	for _, tt := range []struct {
		name  string
		parts []Interval
		want  Row
	}{
		{"none", nil, Row{}},
		{"no connections", []Interval{{EndNS: 1e9, Attempted: 1, InFlight: 1}}, Row{T: 1, Attempted: 1, InFlight: 1}},
		{
			"two clients",
			[]Interval{
				{Index: 3, EndNS: 4e9, Attempted: 5, Succeeded: 3, Failed: 1, InFlight: 1, Calls: Calls{Made: 3, NS: 50, Exhausted: 1}, Connect: connect(10, 20, 30)},
				{Index: 3, EndNS: 4.5e9, Attempted: 2, Succeeded: 2, InFlight: 2, Calls: Calls{Made: 2, NS: 50, Exhausted: 4}, Connect: connect(40, 1_000)},
			},
			Row{T: 4.5, Attempted: 7, Succeeded: 5, Failed: 1, InFlight: 3, ConnectP50: 30, ConnectP99: 1_000, ConnectMax: 1_000, ConnectCallMean: 20, Exhausted: 5},
		},
		{
			"one of two was idle",
			[]Interval{{EndNS: 1e9, Connect: connect(7)}, {EndNS: 1e9, Connect: connect()}},
			Row{T: 1, ConnectP50: 7, ConnectP99: 7, ConnectMax: 7},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := MergeIntervals(tt.parts)
			if err != nil || got != tt.want {
				t.Errorf("got %+v, %v; want %+v", got, err, tt.want)
			}
			slices.Reverse(tt.parts)
			if turned, err := MergeIntervals(tt.parts); err != nil || turned != got {
				t.Errorf("in reverse %+v, %v; want %+v", turned, err, got)
			}
		})
	}
	damaged := Interval{Connect: Histogram{Unit: "ns", Count: math.MaxInt64, HDR: "damaged"}}
	if _, err := MergeIntervals([]Interval{damaged}); err == nil {
		t.Error("damaged histogram: no error")
	}
}
