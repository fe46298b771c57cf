package experiment

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"tcpbench/internal/kernel/sockdiag"
	"tcpbench/metrics"
)

// port is where servers listen, and those behind it.
const port = 9000

// Ports are all at which an experiment may listen.
var Ports = sockdiag.Ports{Low: port, High: port + 99}

// endpoint is one end of a connection.
type endpoint struct {
	side          side
	local, remote uint16
}

// life is the states that an endpoint has gone through, and what it is now.
type life struct {
	local, remote netip.AddrPort
	path          []string
	now           sockdiag.Socket
	gone          bool
}

// closed stands for a socket that is no more. The kernel has no name for that but CLOSE, and
// RFC 9293 has CLOSED.
const closed = "CLOSED"

// look notes the segments that have come, and the sockets that have changed.
func (b *bench) look() {
	b.note()
	if b.blind {
		return
	}
	for _, at := range b.order {
		l := b.known[at]
		k, ok, err := b.census[at.side].Find(l.local, l.remote)
		b.check(err, "look at the "+at.side.String())
		now := time.Since(b.began).Seconds()
		b.note() // what has led there
		switch {
		case ok:
			if l.gone {
				l.path, l.gone = nil, false // it is another socket
			}
			l.now = k
			b.enter(now, at, l, k.State.String())
		case len(l.path) > 0 && !l.gone:
			l.gone, l.now = true, sockdiag.Socket{}
			b.enter(now, at, l, closed)
		}
	}
}

// watch has a connection looked at from now on, at both ends.
func (b *bench) watch(of side, local, remote netip.AddrPort) {
	at := endpoint{of, local.Port(), remote.Port()}
	b.follow(at, local, remote)
	b.follow(at.peerOf(), remote, local)
}

func (b *bench) follow(at endpoint, local, remote netip.AddrPort) {
	if b.known[at] == nil {
		b.known[at] = &life{local: local, remote: remote}
		b.order = append(b.order, at)
	}
}

// enter notes a state, if it is another than before.
func (b *bench) enter(now float64, at endpoint, l *life, state string) {
	if len(l.path) > 0 && l.path[len(l.path)-1] == state {
		return
	}
	l.path = append(l.path, state)
	if b.silent {
		return
	}
	b.event(metrics.Event{T: now, Kind: metrics.Change, Of: at.side.String(), Text: state, Connection: b.nameOf(at.connection())})
}

// connection is the client's port, by which connections are told apart.
func (e endpoint) connection() uint16 {
	if e.side == client {
		return e.local
	}
	return e.remote
}

// nameOf is the name of a connection where there are several.
func (b *bench) nameOf(connection uint16) string { return b.names[connection] }

// at is the end of a connection that a socket is, on its side.
func (s *socket) at() endpoint { return endpoint{s.side, s.local().Port(), s.peer.Port()} }

// peerOf is the other end.
func (e endpoint) peerOf() endpoint { return endpoint{e.side.other(), e.remote, e.local} }

// state is what an endpoint was when last looked at.
func (b *bench) state(at endpoint) string {
	l := b.known[at]
	switch {
	case l == nil:
		return ""
	case l.gone:
		return closed
	}
	return l.now.State.String()
}

// is waits until an endpoint is in a state. One that is closed will be in no other.
func (b *bench) is(at endpoint, state string) {
	b.await(fmt.Sprintf("%s in %s", at.side, state), func() bool { now := b.state(at); return now == state || now == closed })
	b.now(at, state)
}

// now ends the story if an endpoint is not in a state: after step, whose segment its kernel has
// taken, there is nothing to wait for.
func (b *bench) now(at endpoint, state string) {
	if now := b.state(at); now != state {
		if now == "" {
			now = "no state"
		}
		panic(failure{fmt.Errorf("%w: the %s is in %s, not in %s", errOtherwise, at.side, now, state)})
	}
}

// path is the states that an endpoint has gone through.
func (b *bench) path(at endpoint) string {
	if l := b.known[at]; l != nil {
		return strings.Join(l.path, " ")
	}
	return ""
}

// pathSince is those from a state on.
func (b *bench) pathSince(at endpoint, state string) string {
	path := b.path(at)
	if i := strings.Index(path, state); i >= 0 {
		return path[i:]
	}
	return path
}

// socketAt is what the kernel showed of an endpoint when last looked at.
func (b *bench) socketAt(at endpoint) sockdiag.Socket {
	if l := b.known[at]; l != nil {
		return l.now
	}
	return sockdiag.Socket{}
}

// listening lists the sockets of a host that listen.
func (b *bench) listening(of side) []sockdiag.Listener {
	all, err := b.census[of].Listeners(nil)
	b.check(err, "look at the "+of.String())
	return all
}

// queue is what the kernel shows of the accept queue of a port.
func (b *bench) queue(of side, at uint16) sockdiag.Listener {
	for _, l := range b.listening(of) {
		if l.Addr.Port() == at {
			return l
		}
	}
	return sockdiag.Listener{}
}

// listeners is how many sockets listen, on both hosts.
func (b *bench) listeners() int { return len(b.listening(client)) + len(b.listening(server)) }
