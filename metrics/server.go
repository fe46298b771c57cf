package metrics

import (
	"cmp"
	"fmt"
)

// ServerReport is what a tcpbench server counted in the measured time and the drain. It balances:
// accepted + those open at the end of the warm-up = open + the sum over closed.
type ServerReport struct {
	Accepted  uint64            `json:"accepted"`
	Open      uint64            `json:"open"`
	Exchanges uint64            `json:"exchanges"`
	Closed    map[string]uint64 `json:"closed"` // by reason, docs/protocol.md
	// Beats are the server's own pings, or the clients' pings that it only listened to.
	Beats  *Beats  `json:"heartbeats,omitempty"`
	WarmUp *WarmUp `json:"warmup,omitempty"`
}

// WarmUp is what a server counted before the measured time.
type WarmUp struct {
	Accepted uint64 `json:"accepted"` // in it
	Open     uint64 `json:"open"`     // at its end
}

// Since returns what the server counted since an earlier report, at the end of its warm-up.
func (r ServerReport) Since(warmUp ServerReport) ServerReport {
	r.Accepted -= warmUp.Accepted
	r.Exchanges -= warmUp.Exchanges
	closed := make(map[string]uint64, len(r.Closed))
	for reason, n := range r.Closed {
		closed[reason] = n - warmUp.Closed[reason]
	}
	r.Closed = closed
	if r.Beats != nil && warmUp.Beats != nil {
		beats := r.Beats.Since(*warmUp.Beats)
		r.Beats = &beats
	}
	r.WarmUp = &WarmUp{Accepted: warmUp.Accepted, Open: warmUp.Open}
	return r
}

// Before is the server's warm-up; all zero if there was none.
func (r *ServerReport) Before() WarmUp {
	if r.WarmUp == nil {
		return WarmUp{}
	}
	return *r.WarmUp
}

// TotalClosed is the sum over all reasons.
func (r *ServerReport) TotalClosed() (n uint64) {
	for _, count := range r.Closed {
		n += count
	}
	return n
}

// Balance returns an error unless accepted + those open at the end of the warm-up = open + the
// sum over closed.
func (r *ServerReport) Balance() error {
	closed := r.TotalClosed()
	if before := r.Before().Open; before+r.Accepted != r.Open+closed {
		return fmt.Errorf("the server's counts do not balance: %d open at the end of the warm-up + %d accepted, but %d open + %d closed",
			before, r.Accepted, r.Open, closed)
	}
	return nil
}

// Merge adds the report of another server that ran at the same time.
func (r *ServerReport) Merge(other ServerReport) {
	if other.WarmUp != nil {
		before := r.Before()
		r.WarmUp = &WarmUp{Accepted: before.Accepted + other.WarmUp.Accepted, Open: before.Open + other.WarmUp.Open}
	}
	r.Accepted += other.Accepted
	r.Open += other.Open
	r.Exchanges += other.Exchanges
	r.Closed = addCounts(r.Closed, other.Closed)
	r.Beats = sum(r.Beats, other.Beats, (*Beats).Add)
}

// sum adds two parts of reports into a new one; nil is none.
func sum[P any](a, b *P, add func(*P, P)) *P {
	if a == nil || b == nil {
		return cmp.Or(a, b)
	}
	both := *a
	add(&both, *b)
	return &both
}
