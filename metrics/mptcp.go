package metrics

// MPTCP counts the established connections of a client with Multipath TCP sockets, warm-up included
// (TCP_IS_MPTCP).
type MPTCP struct {
	Spoken    uint64 `json:"spoken"`    // both sides speak it
	Fallbacks uint64 `json:"fallbacks"` // plain TCP, because the server does not (RFC 8684, section 3.7)
}

// Add adds the counts of other.
func (m *MPTCP) Add(other MPTCP) {
	m.Spoken += other.Spoken
	m.Fallbacks += other.Fallbacks
}
