package kernel

import (
	"sync/atomic"
	"time"
)

// MostShare is the share of one processor that all observers of a run may take.
const MostShare = 0.02

// Budget is the processor time that the observers of a run have taken together. They share it: one
// that sees few sockets leaves its part to the other.
type Budget struct {
	spent   atomic.Int64
	reserve atomic.Int64 // for the last census of each, which does not wait for its turn
}

// pacer decides when an observer makes a census, so that all observers take no more than MostShare,
// their last censuses included.
type pacer struct {
	*Budget
	began time.Duration // of the first sample
	own   time.Duration // processor time of this observer

	cost    time.Duration // of its last census
	sockets int64         // that there were then
	each    time.Duration // what one socket more takes
	next    time.Duration // what a census would take now, which the budget keeps for the last one
}

// socketCost is what a census takes for one socket more, about (go test -bench Census); a slower
// machine is measured.
const socketCost = 300 * time.Nanosecond

// due tells whether a census can be made at a time at which the namespace has so many sockets.
// The first one always can: it says what a census costs here.
func (p *pacer) due(at time.Duration, sockets int64) bool {
	next := p.cost + time.Duration(max(0, sockets-p.sockets))*max(p.each, socketCost)
	reserve := p.reserve.Add(int64(next - p.next))
	p.next = next
	return p.cost == 0 || p.spent.Load()+int64(next)+reserve <= int64(MostShare*float64(at-p.began))
}

// made notes what the last census took, and how many sockets there were.
func (p *pacer) made(cost time.Duration, sockets int64) {
	if more := sockets - p.sockets; p.cost > 0 && more > 1000 && cost > p.cost {
		p.each = (cost - p.cost) / time.Duration(more)
	}
	p.cost, p.sockets = cost, sockets
}

// took notes processor time of the observer, censuses included.
func (p *pacer) took(d time.Duration) {
	p.own += d
	p.spent.Add(int64(d))
}
