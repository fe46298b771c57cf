package server

import (
	"encoding/json"
	"reflect"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tcpbench/internal/wire"
)

func drawStats(t *rapid.T) Stats {
	n := func(name string) uint64 { return rapid.Uint64Range(0, 1<<40).Draw(t, name) }
	s := Stats{Open: n("open"), Exchanges: n("exchanges"), BytesRead: n("read"),
		BytesWritten: n("written"), Stalled: n("stalled"), Closed: map[string]uint64{}}
	s.Accepted = s.Open
	for r := range nreasons {
		s.Closed[r.String()] = n(r.String())
		s.Accepted += s.Closed[r.String()]
	}
	return s
}

func TestMergeIsASum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := drawStats(t), drawStats(t), drawStats(t)
		if !reflect.DeepEqual(a.Merge(b), b.Merge(a)) {
			t.Error("order matters")
		}
		if !reflect.DeepEqual(a.Merge(b).Merge(c), a.Merge(b.Merge(c))) {
			t.Error("grouping matters")
		}
		if !reflect.DeepEqual(a.Merge(Stats{}), a) || !reflect.DeepEqual(Stats{}.Merge(a), a) {
			t.Error("nothing is not nothing")
		}
		sum := a.Merge(b)
		total := sum.Open
		for _, n := range sum.Closed {
			total += n
		}
		if total != sum.Accepted {
			t.Errorf("accepted %d, but %d in all", sum.Accepted, total)
		}
	})
}

// A count that is lost shows, wherever it is lost.
func TestALostCountShows(t *testing.T) {
	s := start(t, Config{Loops: 1})
	held := dial(t, s)
	write(t, held, opening(wire.Script{RequestSize: 1, ResponseSize: 1}))
	expect(t, held, 1)
	stuck := dial(t, s)
	write(t, stuck, opening(wire.Script{ResponseSize: large, Exchanges: 1}))
	awaitStalled(t, s, 1)
	serves(t, s)
	await(t, func() (bool, string) { return s.Stats().Open == 2, "not closed" })
	balanced(t, s.Stats())
	e := s.engines[0]
	c := &e.counters
	for name, count := range map[string]*atomic.Uint64{"accepted": &c.accepted, "completed": &c.closed[Completed]} {
		count.Add(1)
		if stats := e.snapshot(time.Now()); stats.Balance() == nil {
			t.Errorf("one %s too many: %d accepted, %d open, %v", name, stats.Accepted, stats.Open, nonzero(stats.Closed))
		}
		count.Add(^uint64(0))
		balanced(t, s.Stats())
	}
}

func TestMergeKeepsReasonsOfOtherVersions(t *testing.T) {
	other := Stats{Accepted: 1, Closed: map[string]uint64{"of_another_version": 1}}
	if n := (Stats{}).Merge(other).Closed["of_another_version"]; n != 1 {
		t.Errorf("%d left, want 1", n)
	}
}

func TestStatsSurviveJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawStats(t)
		b, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got Stats
		if err := json.Unmarshal(b, &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s became %+v, %v", b, got, err)
		}
	})
}
