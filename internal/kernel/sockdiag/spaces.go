package sockdiag

import (
	"encoding/binary"
	"net/netip"
)

// Space is a source address and a destination: the four-tuples that differ in the source port only.
type Space struct {
	Source netip.Addr
	Target netip.AddrPort
}

// Use is how many source ports of a space are in use.
type Use struct {
	TimeWait int // by sockets in TIME_WAIT
	Other    int // by all others
}

// Total is the number of ports in use.
func (u Use) Total() int { return u.TimeWait + u.Other }

// MostSpaces is how many spaces a census tells apart.
const MostSpaces = 1 << 14

// rawSpace is a space as the kernel writes it. A lookup takes a tenth of the time of a Space's, which
// would be a sixth of a census.
type rawSpace struct {
	source, target [16]byte
	port           uint16
	family         uint8
}

func (r *rawSpace) space() Space {
	return Space{addressOf(r.family, r.source[:]), netip.AddrPortFrom(addressOf(r.family, r.target[:]), r.port)}
}

// usage is the Use of each space, in memory that each census uses again.
type usage struct {
	index  map[rawSpace]int
	counts []Use
	most   int
}

func (u *usage) reset(most int) {
	u.most = most
	if u.index == nil {
		u.index = map[rawSpace]int{}
	}
	clear(u.index)
	u.counts = u.counts[:0]
}

// of is the use of a socket's space (struct inet_diag_msg), or nil if there are too many spaces.
func (u *usage) of(b []byte) *Use {
	key := rawSpace{[16]byte(b[8:]), [16]byte(b[24:]), binary.BigEndian.Uint16(b[6:]), b[0]}
	i, known := u.index[key]
	if !known {
		if len(u.counts) >= u.most {
			return nil
		}
		i = len(u.counts)
		u.index[key] = i
		u.counts = append(u.counts, Use{})
	}
	return &u.counts[i]
}
