package pace

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestBackoff(t *testing.T) {
	var b Backoff
	if b.Blocks(0) || b.Total(0) != 0 {
		t.Error("blocks at first")
	}
	now, total := int64(1000), int64(0)
	for _, pause := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 100, 100} {
		b.Fail(now)
		end := now + int64(pause*time.Millisecond)
		if b.Until != end || !b.Blocks(end-1) || b.Blocks(end) {
			t.Errorf("at %d blocks until %d, want %v", now, b.Until, pause*time.Millisecond)
		}
		total += end - now
		now = end
	}
	if got := b.Total(now); got != total {
		t.Errorf("%d ns while it blocks, want %d", got, total)
	}
	b.Succeed(now)
	b.Succeed(now + 5) // a second success changes nothing
	if b.Blocks(now) || b.Total(now+1000) != total {
		t.Errorf("%d ns, want %d", b.Total(now+1000), total)
	}
	b.Fail(now + 50)
	b.Succeed(now + 80)
	if got := b.Total(now + 100); got != total+30 {
		t.Errorf("%d ns in all, want %d", got, total+30)
	}
	if b.Fail(now + 100); b.Until != now+100+firstPause {
		t.Error("the pause has not begun anew")
	}
}

// Over any history the time of a backoff is that from the first failure of each row to the success
// that ended it, and it never blocks for more than the longest pause.
func TestBackoffCountsItsTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b Backoff
		var now, total, since int64
		failing := false
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			now += rapid.Int64Range(0, int64(200*time.Millisecond)).Draw(t, "by")
			if rapid.Bool().Draw(t, "fails") {
				if !failing {
					since, failing = now, true
				}
				b.Fail(now)
				if !b.Blocks(now) || b.Blocks(now+lastPause) {
					t.Fatalf("at %d blocks until %d", now, b.Until)
				}
				continue
			}
			if failing {
				total += now - since
			}
			failing = false
			b.Succeed(now)
		}
		want := total
		if failing {
			want += now - since
		}
		if got := b.Total(now); got != want {
			t.Fatalf("%d ns, want %d", got, want)
		}
	})
}

func TestLimiter(t *testing.T) {
	l := NewLimiter(10*PerSecond, 2) // five events a second for this loop
	for _, c := range [][2]int64{{0, 0}, {0, 2e8}, {1e8, 4e8}, {1e9, 1e9}, {1e9, 12e8}} {
		if got := l.At(c[0]); got != c[1] {
			t.Errorf("at %d booked %d, want %d", c[0], got, c[1])
		}
	}
	none := NewLimiter(0, 1)
	if first := none.At(7); first != 7 || none.At(7) != 7 {
		t.Error("no rate limits")
	}
}
