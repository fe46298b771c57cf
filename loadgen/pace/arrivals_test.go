package pace

import (
	"fmt"
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const second = int64(time.Second)

// scheduled counts the arrivals of a plan that are due in the measured time.
func scheduled(p Plan, stop int64) (n uint64) {
	for a := NewArrivals(p); a.Due < stop; a.advance() {
		if a.Due >= int64(p.Warmup) {
			n++
		}
	}
	return n
}

// An open loop is driven through stalls and a lack of slots. Every arrival of the schedule is started
// once or counted as missed, in order and never early; late ones start at no more than twice the
// rate, and none a second late.
func TestOpenArrivalsAreStartedOrMissed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ms := func(name string, least, most int) time.Duration {
			return time.Duration(rapid.IntRange(least, most).Draw(t, name)) * time.Millisecond
		}
		p := Plan{
			Process: rapid.SampledFrom([]Process{Constant, Poisson}).Draw(t, "process"),
			Profile: Steady(Rate(rapid.IntRange(1, 2000).Draw(t, "rate")) * PerSecond),
			Seed:    rapid.Uint64().Draw(t, "seed"),
			Places:  rapid.IntRange(1, 4).Draw(t, "places"),
			Warmup:  ms("warm-up", 0, 1500), Quota: NoQuota,
		}
		p.Place = rapid.IntRange(0, p.Places-1).Draw(t, "place")
		stop := int64(p.Warmup + ms("duration", 1, 3000))
		a := NewArrivals(p)
		gap := float64(p.Places) * 1e9 / p.Profile[0].From.PerSecond()
		var attempted, lateRow uint64
		var now, free, rowBegan int64
		lastDue, lastStart := int64(-1), int64(-1)
		for !a.Done(now, stop) {
			start, due := a.Next(now, stop, free)
			if start == Never {
				break
			}
			if start > now {
				now = start
				if rapid.IntRange(0, 9).Draw(t, "stalls") == 0 {
					now += rapid.Int64Range(0, 1<<rapid.IntRange(10, 31).Draw(t, "bits")).Draw(t, "stall")
				}
				free = 0
				if rapid.IntRange(0, 19).Draw(t, "full") == 0 {
					free = Never
				}
				continue
			}
			late := now - due
			switch {
			case start != now, late < 0, late > missAfter, due < lastDue, due >= stop, free == Never:
				t.Fatalf("an arrival of %d starts at %d, now is %d, the last was due at %d, the run ends at %d, free %d", due, start, now, lastDue, stop, free)
			case late > lateAfter && lastStart >= 0:
				// Over a row of late ones too: n of them take (n-1)/2 gaps.
				lateRow++
				if d := now - lastStart; float64(d) < gap/2-1 || float64(now-rowBegan) < float64(lateRow)*(gap/2-1) {
					t.Fatalf("late arrival %d of a row starts %d ns after another, the mean gap is %.0f ns", lateRow, d, gap)
				}
			default:
				lateRow, rowBegan = 0, now
			}
			lastDue, lastStart = due, now
			measured := a.Take(now)
			if measured != (due >= int64(p.Warmup)) {
				t.Fatalf("an arrival of %d is measured: %v, the warm-up lasts %v", due, measured, p.Warmup)
			}
			if measured {
				attempted++
			}
			now += rapid.Int64Range(0, 20_000).Draw(t, "work")
		}
		if want := scheduled(p, stop); attempted+a.Missed != want {
			t.Fatalf("%d attempted + %d missed of %d scheduled", attempted, a.Missed, want)
		}
	})
}

// After a stall of 600 ms the arrivals in arrear start at twice the rate; after one of three seconds
// two thirds of them are missed.
func TestAStallIsNotMadeUpForInABurst(t *testing.T) {
	for _, c := range []struct {
		stall  time.Duration
		missed uint64
		takes  time.Duration // to catch up
	}{
		{4 * time.Millisecond, 0, 0},
		{600 * time.Millisecond, 0, 595 * time.Millisecond},
		// The arrival that was due exactly a second ago still starts.
		{3 * time.Second, 2000, 995 * time.Millisecond},
	} {
		t.Run(fmt.Sprint(c.stall), func(t *testing.T) {
			a := NewArrivals(Plan{Process: Constant, Profile: Steady(1000 * PerSecond), Places: 1, Quota: NoQuota})
			now, caughtUp := int64(c.stall), int64(c.stall)
			for a.Due+lateAfter < now {
				start, due := a.Next(now, 60*second, 0)
				if start > now {
					if start != now+second/2000 {
						t.Fatalf("late by %d ns, the next starts after %d ns", now-due, start-now)
					}
					now = start
					continue
				}
				a.Take(now)
				caughtUp = now
			}
			took := time.Duration(caughtUp - int64(c.stall))
			if a.Missed != c.missed || took < c.takes-20*time.Millisecond || took > c.takes+20*time.Millisecond {
				t.Errorf("%d missed, caught up after %v, want %d after %v", a.Missed, took, c.missed, c.takes)
			}
		})
	}
}

// An open loop that is asked for more than any machine can start counts what it missed and ends
// near its time: the work of each turn is bounded, whatever the rate.
func TestARateOutOfReach(t *testing.T) {
	for _, process := range []Process{Constant, Poisson} {
		for _, free := range []int64{0, Never} {
			a := NewArrivals(Plan{Process: process, Profile: Steady(MaxRate), Places: 1, Warmup: 10 * time.Second, Seed: 7, Quota: NoQuota})
			now, started := int64(0), uint64(0)
			for ; !a.Done(now, 20*second); now += second / 1000 {
				if start, _ := a.Next(now, 20*second, free); start == now && a.Take(now) {
					started++
				}
			}
			if now > 22600*second/1000 || (started == 0) != (free == Never) {
				t.Errorf("%s, free %d: %d started, ends at %v", process, free, started, time.Duration(now))
			}
			if due := float64(started + a.Missed); math.Abs(due-1e10) > 6*math.Sqrt(1e10) {
				t.Errorf("%s, free %d: %d started and %d missed of about 1e10", process, free, started, a.Missed)
			}
		}
	}
}

// The first arrivals that are left when a run ends are missed, up to its quota.
func TestTheRestIsMissed(t *testing.T) {
	for quota, want := range map[uint64]uint64{NoQuota: 1000, 7: 7} {
		a := NewArrivals(Plan{Process: Constant, Profile: Steady(1000 * PerSecond), Places: 1, Warmup: time.Second, Quota: quota})
		if a.LeaveRest(3*second, 2*second); a.Missed != want {
			t.Errorf("%d missed of a quota of %d, want %d", a.Missed, quota, want)
		}
	}
	closed := NewArrivals(Plan{Process: Closed, Places: 1, Quota: NoQuota})
	if closed.LeaveRest(3*second, 2*second); closed.Missed != 0 {
		t.Errorf("a closed loop missed %d", closed.Missed)
	}
}

// A closed loop is due whenever a slot is free, and since when it is.
func TestClosedArrivals(t *testing.T) {
	a := NewArrivals(Plan{Process: Closed, Places: 2, OpenRate: 10 * PerSecond, Quota: 3, Warmup: time.Second})
	const stop = 3 * second
	want := func(now, free, start, due int64) {
		t.Helper()
		if s, d := a.Next(now, stop, free); s != start || s != Never && d != due {
			t.Errorf("at %d, free since %d: starts at %d, due at %d, want %d and %d", now, free, s, d, start, due)
		}
	}
	want(500, 400, 500, 400)
	want(500, Never, Never, 0)
	if a.Take(500) {
		t.Error("measured during the warm-up")
	}
	want(600, 550, 500+second/5, 500+second/5) // half of 10/s
	want(second/2, 550, second/2, 500+second/5)
	a.Backoff.Fail(second)
	want(second, 600, second+firstPause, 500+second/5)
	a.Backoff.Succeed(second)
	for i := range int64(3) {
		if now := second + i*second/5; a.Done(now, stop) || !a.Take(now) {
			t.Error("not measured, or done before the quota")
		}
	}
	want(2*second, 700, Never, 0)
	if !a.Done(2*second, stop) {
		t.Error("not done after the quota")
	}
	a = NewArrivals(Plan{Process: Hold, Places: 1, Quota: NoQuota})
	want(stop, 700, Never, 0)
	if a.Done(stop-1, stop) || !a.Done(stop, stop) || a.Open() || a.Overdue(stop) {
		t.Error("wrong about the end")
	}
}

// An open loop with a quota takes no arrival beyond it, however many are due.
func TestOpenArrivalsStopAtTheQuota(t *testing.T) {
	a := NewArrivals(Plan{Process: Constant, Profile: Steady(1000 * PerSecond), Places: 2, Quota: 3, Warmup: 10 * time.Millisecond})
	n, now := 0, int64(0)
	for !a.Done(now, Never) {
		start, _ := a.Next(now, Never, 0)
		if now = max(now, start); a.Take(now) {
			n++
		}
	}
	if n != 3 || a.Missed != 0 {
		t.Errorf("%d attempts and %d missed, want 3", n, a.Missed)
	}
}
