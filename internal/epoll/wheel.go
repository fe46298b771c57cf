package epoll

import (
	"math"
	"math/bits"
)

// Tick is the resolution of a Wheel for timers that are due within Near: 33 µs, in nanoseconds.
const Tick = int64(1) << tickShift

// CoarseTick is its resolution beyond Near: 1.05 ms. Thousands of timers of seconds share a turn of the
// loop then.
const CoarseTick = int64(1) << 20

// Near is how far ahead timers have the fine resolution, in nanoseconds.
const Near = 16 * CoarseTick

const (
	tickShift  = 15
	levelBits  = 8
	levelSlots = 1 << levelBits
	levels     = 4 // 2^32 ticks: 39 hours ahead
	unlinked   = -1
	dueList    = levels * levelSlots // the list of timers that Advance found due
)

// Never is what Next returns if no timer is set.
const Never = int64(math.MaxInt64)

// Wheel has one timer for each id. Setting, cancelling and expiring cost the same for one timer as for a
// million (Varghese and Lauck, hierarchical timing wheels). The lists are linked through arrays, so only
// Grow allocates.
//
// A timer is never early. The wheel makes it at most one Tick late if it is due within Near, otherwise
// one CoarseTick. Times are nanoseconds since an instant of the caller's choice.
type Wheel struct {
	tick   int64 // the last tick that Advance has handled
	links  []link
	heads  [levels*levelSlots + 1]int32
	last   int32                           // in the list of due timers; unlinked if that is empty
	filled [levels][levelSlots / 64]uint64 // which heads have a list
}

type link struct {
	tick       int64
	next, prev int32
	list       int32 // index into heads, unlinked if the timer is not set
	rounding   int32 // nanoseconds that Set has added to reach the tick
}

// NewWheel returns a wheel for the ids 0 to n-1 that starts at now.
func NewWheel(n int, now int64) *Wheel {
	w := &Wheel{tick: now >> tickShift, links: make([]link, 0, n), last: unlinked}
	for i := range w.heads {
		w.heads[i] = unlinked
	}
	w.Grow(n)
	return w
}

// Grow makes room for the ids up to n-1. Timers stay set.
func (w *Wheel) Grow(n int) {
	for len(w.links) < n {
		w.links = append(w.links, link{list: unlinked})
	}
}

// Set sets the timer of id to the time at, whether it was set or not.
func (w *Wheel) Set(id int32, at int64) {
	w.Cancel(id)
	resolution := Tick
	if at-w.tick<<tickShift >= Near {
		resolution = CoarseTick
	}
	// Rounded up, so it is never early, and after the last tick handled.
	rounded := (at + resolution - 1) &^ (resolution - 1)
	l := &w.links[id]
	l.tick = max(rounded>>tickShift, w.tick+1)
	l.rounding = int32(min(l.tick<<tickShift-at, math.MaxInt32))
	w.place(id)
}

// Cancel removes the timer of id, if it is set or due.
func (w *Wheel) Cancel(id int32) {
	l := &w.links[id]
	if l.list == unlinked {
		return
	}
	if l.prev == unlinked {
		w.heads[l.list] = l.next
		if l.next == unlinked && l.list != dueList {
			w.filled[l.list/levelSlots][l.list%levelSlots/64] &^= 1 << (l.list % 64)
		}
	} else {
		w.links[l.prev].next = l.next
	}
	if l.next != unlinked {
		w.links[l.next].prev = l.prev
	} else if l.list == dueList {
		w.last = l.prev
	}
	l.list = unlinked
}

// Advance moves the time forward to now. Pop then returns the timers that have become due, those of the
// earliest tick first.
func (w *Wheel) Advance(now int64) {
	for target := now >> tickShift; w.tick < target; {
		next := w.nextTick()
		if next > target {
			w.tick = target
			return
		}
		w.tick = next
		w.cascade()
		for head := w.tick & (levelSlots - 1); w.heads[head] != unlinked; {
			id := w.heads[head]
			w.Cancel(id)
			w.append(id)
		}
	}
}

// Pop removes a timer that is due, and returns it with the time of its Set. That time is exact unless it
// was more than two seconds ago at Set.
func (w *Wheel) Pop() (id int32, at int64, ok bool) {
	id = w.heads[dueList]
	if id == unlinked {
		return 0, 0, false
	}
	w.Cancel(id)
	l := &w.links[id]
	return id, l.tick<<tickShift - int64(l.rounding), true
}

// Next returns a time at which Advance may have work: that of the first timer or earlier, and Never if no
// timer is set.
func (w *Wheel) Next() int64 {
	if w.heads[dueList] != unlinked {
		return w.tick << tickShift
	}
	tick := w.nextTick()
	if tick == Never {
		return Never
	}
	return tick << tickShift
}

// nextTick is the next tick at which a list of the lowest level is due or cascade spreads a list of a
// higher level.
func (w *Wheel) nextTick() int64 {
	first := Never
	for level := range levels {
		shift := level * levelBits
		unit := w.tick >> shift
		if ahead := w.ahead(level, int(unit)&(levelSlots-1)); ahead > 0 {
			first = min(first, (unit+int64(ahead))<<shift)
		}
	}
	return first
}

// ahead counts the steps from slot from to the next filled slot of a level: 1 to levelSlots, or 0 if the
// level is empty.
func (w *Wheel) ahead(level, from int) int {
	filled := &w.filled[level]
	for step := 1; step <= levelSlots; {
		slot := (from + step) % levelSlots
		word := filled[slot/64] >> (slot % 64)
		if word != 0 {
			return min(step+bits.TrailingZeros64(word), levelSlots)
		}
		step += 64 - slot%64
	}
	return 0
}

// cascade moves timers of higher levels whose span begins at the current tick to lower levels.
func (w *Wheel) cascade() {
	for level := levels - 1; level > 0; level-- {
		shift := level * levelBits
		if w.tick&(1<<shift-1) != 0 {
			continue
		}
		head := level*levelSlots + int(w.tick>>shift)&(levelSlots-1)
		for w.heads[head] != unlinked {
			id := w.heads[head]
			w.Cancel(id)
			w.place(id)
		}
	}
}

// place puts a timer into the list of the lowest level that reaches its tick.
func (w *Wheel) place(id int32) {
	tick := w.links[id].tick
	for level := range levels {
		shift := level * levelBits
		if tick>>shift-w.tick>>shift < levelSlots {
			w.push(id, int32(level*levelSlots+int(tick>>shift)&(levelSlots-1)))
			return
		}
	}
	// Beyond the last level: the farthest slot, from which cascade places it again.
	shift := (levels - 1) * levelBits
	w.push(id, int32((levels-1)*levelSlots+int(w.tick>>shift+levelSlots-1)&(levelSlots-1)))
}

func (w *Wheel) push(id, list int32) {
	head := w.heads[list]
	w.links[id].next, w.links[id].prev, w.links[id].list = head, unlinked, list
	if head != unlinked {
		w.links[head].prev = id
	}
	w.heads[list] = id
	w.filled[list/levelSlots][list%levelSlots/64] |= 1 << (list % 64)
}

// append adds a timer to the end of those that are due: a loop that takes only some of them in a turn
// leaves the latest.
func (w *Wheel) append(id int32) {
	l := &w.links[id]
	l.next, l.prev, l.list = unlinked, w.last, dueList
	if w.last == unlinked {
		w.heads[dueList] = id
	} else {
		w.links[w.last].next = id
	}
	w.last = id
}
