package pace

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestGate(t *testing.T) {
	var g Gate
	if g.Holds(0) || g.ShutFor(0) != 0 {
		t.Error("shut at first")
	}
	now, total := int64(1000), int64(0)
	for _, pause := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 100, 100} {
		g.Shut(now)
		end := now + int64(pause*time.Millisecond)
		if g.Until != end || !g.Holds(end-1) || g.Holds(end) {
			t.Errorf("shut at %d until %d, want %v", now, g.Until, pause*time.Millisecond)
		}
		total += end - now
		now = end
	}
	if got := g.ShutFor(now); got != total {
		t.Errorf("shut for %d while shut, want %d", got, total)
	}
	g.Open(now)
	g.Open(now + 5) // a success while it is open changes nothing
	if g.Holds(now) || g.ShutFor(now+1000) != total {
		t.Errorf("shut for %d, want %d", g.ShutFor(now+1000), total)
	}
	g.Shut(now + 50)
	g.Open(now + 80)
	if got := g.ShutFor(now + 100); got != total+30 {
		t.Errorf("shut for %d in all, want %d", got, total+30)
	}
	if g.Shut(now + 100); g.Until != now+100+firstPause {
		t.Error("the pause has not begun anew")
	}
}

// Over any history the time for which a gate was shut is between the first failure of
// each row and the success that ended it, and it never holds for more than the longest pause.
func TestGateCountsTheTimeItWasShut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var g Gate
		var now, total, since int64
		shut := false
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			now += rapid.Int64Range(0, int64(200*time.Millisecond)).Draw(t, "by")
			if rapid.Bool().Draw(t, "fails") {
				if !shut {
					since, shut = now, true
				}
				g.Shut(now)
				if !g.Holds(now) || g.Holds(now+LastPause) {
					t.Fatalf("at %d shut until %d", now, g.Until)
				}
				continue
			}
			if shut {
				total += now - since
			}
			shut = false
			g.Open(now)
		}
		want := total
		if shut {
			want += now - since
		}
		if got := g.ShutFor(now); got != want {
			t.Fatalf("shut for %d, want %d", got, want)
		}
	})
}
