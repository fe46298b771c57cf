package epoll

import (
	"testing"

	"pgregory.net/rapid"
)

// A wheel is compared with a map from id to time: the simplest thing that could be right.
func TestWheelBehavesAsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { compareWithMap(t) })
}

func FuzzWheel(f *testing.F) {
	f.Fuzz(rapid.MakeFuzz(func(t *rapid.T) { compareWithMap(t) }))
}

func compareWithMap(t *rapid.T) {
	const ids = 16
	now := rapid.Int64Range(0, 1<<50).Draw(t, "start")
	size := rapid.IntRange(0, ids).Draw(t, "size") // ids beyond it need room first
	w := NewWheel(size, now)
	model := map[int32]int64{}
	latest := map[int32]int64{} // by when each must have fired
	advanced := now
	id := rapid.Int32Range(0, ids-1)
	// From below a tick to beyond what four levels hold.
	span := rapid.Custom(func(t *rapid.T) int64 {
		return rapid.Int64Range(0, 1<<rapid.IntRange(0, 54).Draw(t, "bits")).Draw(t, "span")
	})
	t.Repeat(map[string]func(*rapid.T){
		"set": func(t *rapid.T) {
			i, at := id.Draw(t, "id"), now+span.Draw(t, "in")
			if int(i) >= size {
				size = int(i) + 1
				w.Grow(size)
			}
			w.Set(i, at)
			model[i], latest[i] = at, at+Tick
			if at-advanced >= Near-Tick {
				latest[i] = at + CoarseTick
			}
		},
		"cancel": func(t *rapid.T) {
			i := id.Draw(t, "id")
			if int(i) >= size {
				t.Skip("no such timer yet")
			}
			w.Cancel(i)
			delete(model, i)
		},
		"advance": func(t *rapid.T) {
			now += span.Draw(t, "by")
			w.Advance(now)
			advanced = now
			for before := int64(0); ; {
				i, due, ok := w.Pop()
				if !ok {
					break
				}
				if due != model[i] || due < before-CoarseTick {
					t.Fatalf("timer %d of %d is said to be of %d, after one of %d", i, model[i], due, before)
				}
				before = due
				at, set := model[i]
				if !set || at > now {
					t.Fatalf("timer %d of %d (set: %v) fired at %d", i, at, set, now)
				}
				delete(model, i)
			}
			for i, at := range model {
				if latest[i] <= now {
					t.Fatalf("timer %d of %d is still set at %d", i, at, now)
				}
			}
		},
		"": func(t *rapid.T) {
			next := w.Next()
			if (next == Never) != (len(model) == 0) {
				t.Fatalf("Next = %d with %d timers", next, len(model))
			}
			for i, at := range model {
				if next > max(latest[i], now+Tick) {
					t.Fatalf("Next = %d, but timer %d is due at %d", next, i, at)
				}
			}
		},
	})
}

func BenchmarkWheel(b *testing.B) {
	const ids = 1 << 20
	w := NewWheel(ids, 0)
	for i := range int32(ids) {
		w.Set(i, int64(i)*60e9/ids)
	}
	now := int64(0)
	b.ReportAllocs()
	for n := 0; n < b.N; {
		now += Tick
		w.Advance(now)
		for id, _, ok := w.Pop(); ok; id, _, ok = w.Pop() {
			w.Set(id, now+60e9)
			n++
		}
	}
}
