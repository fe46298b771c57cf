package lab

import (
	"math/rand/v2"
	"slices"
	"sync/atomic"

	"tcpbench/internal/random"
	"tcpbench/internal/segment"
)

// Tally is how many packets a verb of the link was asked about, and on how many it acted.
type Tally struct{ Asked, Done uint64 }

// tally is a Tally that one goroutine changes and others read.
type tally struct{ asked, done atomic.Uint64 }

func (t *tally) count(done bool) bool {
	t.asked.Add(1)
	if done {
		t.done.Add(1)
	}
	return done
}

func (t *tally) read() Tally { return Tally{Asked: t.asked.Load(), Done: t.done.Load()} }

// lossTally counts the three verbs that lose packets. If one loses a packet, the next is not asked.
type lossTally struct{ drop, every, loss tally }

// losses decides which packets of one direction are lost. The same seed and packets give the same
// decisions. One goroutine uses it.
type losses struct {
	how    Impairment
	random *rand.Rand
	passed uint32 // packets since the last that Every lost
	tally  *lossTally
}

// newLosses begins decisions. stream keeps directions with the same seed apart.
func newLosses(how *Impairment, seed, stream uint64, t *lossTally) *losses {
	return &losses{how: *how, random: rand.New(random.New(seed+how.Seed, stream)), tally: t}
}

// loses tells whether the next IP packet is lost.
func (l *losses) loses(packet []byte) bool {
	if len(l.how.Drop) > 0 {
		if s, ok := segment.Parse(packet); ok && l.tally.drop.count(slices.Contains(l.how.Drop, s.Flags)) {
			return true
		}
	}
	if l.how.Every > 0 {
		l.passed++
		due := l.passed == l.how.Every
		if due {
			l.passed = 0
		}
		if l.tally.every.count(due) {
			return true
		}
	}
	return l.how.Loss > 0 && l.tally.loss.count(l.random.Float64() < l.how.Loss)
}
