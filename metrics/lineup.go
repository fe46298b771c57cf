package metrics

import (
	"math"
	"slices"
)

// Lineup joins the parts of numbered intervals from several sources. Each source counts upwards and
// may leave numbers out.
type Lineup[T any] struct {
	last  []int // the last number of each source
	over  []bool
	parts map[int][]T
	given int // lower numbers have been taken
}

// NewLineup returns a lineup of that many sources.
func NewLineup[T any](sources int) *Lineup[T] {
	l := &Lineup[T]{last: make([]int, sources), over: make([]bool, sources), parts: map[int][]T{}}
	for i := range l.last {
		l.last[i] = -1
	}
	return l
}

// Add takes a source's part of the interval of that number.
func (l *Lineup[T]) Add(source, number int, part T) {
	l.last[source] = number
	l.parts[number] = append(l.parts[number], part)
}

// End tells that a source will add nothing more.
func (l *Lineup[T]) End(source int) { l.over[source] = true }

// Over tells whether all sources have ended.
func (l *Lineup[T]) Over() bool { return !slices.Contains(l.over, false) }

// Take returns the parts of the next interval that is complete, or false if there is none yet.
func (l *Lineup[T]) Take() ([]T, bool) {
	for l.given <= l.settled() {
		parts := l.parts[l.given]
		delete(l.parts, l.given)
		l.given++
		if len(parts) > 0 {
			return parts, true
		}
	}
	return nil, false
}

// settled is the last number that every source has passed; without sources the last number of all.
func (l *Lineup[T]) settled() int {
	settled := math.MaxInt
	for source, last := range l.last {
		if !l.over[source] {
			settled = min(settled, last)
		}
	}
	if settled == math.MaxInt { // all sources have ended
		settled = -1
		for number := range l.parts {
			settled = max(settled, number)
		}
	}
	return settled
}
