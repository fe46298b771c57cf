package bench

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"tcpbench/internal/kernel/sockdiag"
	"tcpbench/internal/segment"
	"tcpbench/metrics"
)

type tuple struct {
	side          Side
	local, remote netip.AddrPort
}

// End is one end of a connection, and the states that its socket has gone through.
type End struct {
	tuple
	Peer    *End
	Seen    sockdiag.Socket // what the kernel showed at the last look
	bench   *Bench
	watched bool
	path    []string
	trail   *segment.Trail // of what it has sent
	gone    bool
}

// Closed is the state of a socket that no longer exists, as in RFC 9293.
const Closed = "CLOSED"

// end returns an end of a connection, the same one for the same addresses.
func (b *Bench) end(of Side, local, remote netip.AddrPort) *End {
	at := tuple{of, local, remote}
	if b.ends[at] == nil {
		e := &End{tuple: at, bench: b}
		e.Peer = &End{tuple: tuple{of.Other(), remote, local}, bench: b, Peer: e}
		b.ends[at], b.ends[e.Peer.tuple] = e, e.Peer
	}
	return b.ends[at]
}

// watch lets Look look at an end from now on.
func (b *Bench) watch(e *End) {
	if !e.watched {
		e.watched = true
		b.watched = append(b.watched, e)
	}
}

// Look records the segments that have come, and the sockets whose state has changed.
func (b *Bench) Look() {
	b.note()
	if b.Blind {
		return
	}
	for _, e := range b.watched {
		s, ok, err := b.census[e.side].Find(e.local, e.remote)
		b.Check(err, "look at the "+e.side.String())
		now := time.Since(b.began).Seconds()
		b.note() // the segments that led to this state
		switch {
		case ok:
			if e.gone {
				e.path, e.gone = nil, false // it is another socket
			}
			e.Seen = s
			e.enter(now, s.State.String())
		case len(e.path) > 0 && !e.gone:
			e.gone, e.Seen = true, sockdiag.Socket{}
			e.enter(now, Closed)
		}
	}
}

// enter records a state if it is another than before.
func (e *End) enter(now float64, state string) {
	if e.State() == state {
		return
	}
	e.path = append(e.path, state)
	if !e.bench.Silent {
		e.bench.event(metrics.Event{T: now, Kind: metrics.Change, Of: e.side.String(), Text: state, Connection: e.bench.names[e.Connection()]})
	}
}

// Connection is the client's port, which tells connections apart.
func (e *End) Connection() uint16 {
	if e.side == Client {
		return e.local.Port()
	}
	return e.remote.Port()
}

// Name names the connection in events, if there are several.
func (e *End) Name(name string) { e.bench.names[e.Connection()] = name }

// State is the state at the last look, or "" if no socket was seen.
func (e *End) State() string {
	if len(e.path) == 0 {
		return ""
	}
	return e.path[len(e.path)-1]
}

// Reaches waits until the end is in a state, or closed: then it will be in no other.
func (e *End) Reaches(state string) {
	e.bench.Await(fmt.Sprintf("the %s in %s", e.side, state), func() bool { return e.State() == state || e.State() == Closed })
}

// Is waits until the end is in a state. If it is closed instead, the experiment ends.
func (e *End) Is(state string) {
	e.Reaches(state)
	e.Now(state)
}

// Now ends the experiment if the end is not in a state. It is for the time after Step: there is
// nothing to wait for, because the kernel has processed the segment.
func (e *End) Now(state string) {
	if now := e.State(); now != state {
		if now == "" {
			now = "no state"
		}
		panic(failure{fmt.Errorf("%w: the %s is in %s, not in %s", errOtherwise, e.side, now, state)})
	}
}

// Path is the states that the end has gone through.
func (e *End) Path() string { return strings.Join(e.path, " ") }

// PathSince is the states from the first ESTABLISHED on.
func (e *End) PathSince() string {
	path := e.Path()
	return path[max(0, strings.Index(path, "ESTABLISHED")):]
}

// Listeners lists the listening sockets of a host, at some ports or at all.
func (b *Bench) Listeners(of Side, ports ...sockdiag.Ports) []sockdiag.Listener {
	all, err := b.census[of].Listeners(ports)
	b.Check(err, "look at the "+of.String())
	return all
}
