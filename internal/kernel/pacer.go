package kernel

import (
	"sync/atomic"
	"time"
)

// MostShare is how much of one processor all samplers of a run may take together.
const MostShare = 0.02

// Budget is the processor time that the samplers of a run have taken. They share it: one that sees
// few sockets leaves its part to the other.
type Budget struct {
	spent   atomic.Int64
	reserve atomic.Int64 // for the last census of each, which does not wait for due
}

// pacer decides when a sampler makes a census, so that all samplers take no more than MostShare,
// including their last censuses.
type pacer struct {
	*Budget
	began time.Duration // of the first sample
	own   time.Duration // processor time of this sampler

	cost    time.Duration // of its last census
	sockets int64         // at its last census
	each    time.Duration // the cost of one more socket
	next    time.Duration // the cost of a census now, which the budget reserves for the last one
}

// socketCost is about the cost of one more socket (go test -bench Census); more if a census has shown
// it.
const socketCost = 300 * time.Nanosecond

// due tells whether a census can be made now, with so many sockets in the namespace. The first is
// always due: it measures the cost.
func (p *pacer) due(at time.Duration, sockets int64) bool {
	next := p.cost + time.Duration(max(0, sockets-p.sockets))*max(p.each, socketCost)
	reserve := p.reserve.Add(int64(next - p.next))
	p.next = next
	return p.cost == 0 || p.spent.Load()+int64(next)+reserve <= int64(MostShare*float64(at-p.began))
}

// made notes the cost of a census, and how many sockets there were.
func (p *pacer) made(cost time.Duration, sockets int64) {
	if more := sockets - p.sockets; p.cost > 0 && more > 1000 && cost > p.cost {
		p.each = (cost - p.cost) / time.Duration(more)
	}
	p.cost, p.sockets = cost, sockets
}

// took notes processor time of the sampler, including its censuses.
func (p *pacer) took(d time.Duration) {
	p.own += d
	p.spent.Add(int64(d))
}
