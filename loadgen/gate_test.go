package loadgen

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestGate(t *testing.T) {
	var g gate
	if g.holds(0) || g.shutFor(0) != 0 {
		t.Error("shut at first")
	}
	now, total := int64(1000), int64(0)
	for _, pause := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 100, 100} {
		g.shut(now)
		end := now + int64(pause*time.Millisecond)
		if g.until != end || !g.holds(end-1) || g.holds(end) {
			t.Errorf("shut at %d until %d, want %v", now, g.until, pause*time.Millisecond)
		}
		total += end - now
		now = end
	}
	if got := g.shutFor(now); got != total {
		t.Errorf("shut for %d while shut, want %d", got, total)
	}
	g.open(now)
	g.open(now + 5) // a success while it is open changes nothing
	if g.holds(now) || g.shutFor(now+1000) != total {
		t.Errorf("shut for %d, want %d", g.shutFor(now+1000), total)
	}
	g.shut(now + 50)
	g.open(now + 80)
	if got := g.shutFor(now + 100); got != total+30 {
		t.Errorf("shut for %d in all, want %d", got, total+30)
	}
	if g.shut(now + 100); g.until != now+100+firstPause {
		t.Error("the pause has not begun anew")
	}
}

// Over any history the time for which a gate was shut is between the first failure of
// each row and the success that ended it, and it never holds for more than the longest pause.
func TestGateCountsTheTimeItWasShut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var g gate
		var now, total, since int64
		shut := false
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			now += rapid.Int64Range(0, int64(200*time.Millisecond)).Draw(t, "by")
			if rapid.Bool().Draw(t, "fails") {
				if !shut {
					since, shut = now, true
				}
				g.shut(now)
				if !g.holds(now) || g.holds(now+lastPause) {
					t.Fatalf("at %d shut until %d", now, g.until)
				}
				continue
			}
			if shut {
				total += now - since
			}
			shut = false
			g.open(now)
		}
		want := total
		if shut {
			want += now - since
		}
		if got := g.shutFor(now); got != want {
			t.Fatalf("shut for %d, want %d", got, want)
		}
	})
}
