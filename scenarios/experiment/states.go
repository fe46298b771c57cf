package experiment

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tcpbench/metrics"
	"tcpbench/metrics/kernel"
)

// The ports of experiments: only sockets with one of them are looked at.
const (
	port     = 9000 // where servers listen
	lastPort = 9099
)

var watched = []kernel.Ports{{Low: port, High: lastPort}}

// endpoint is one end of a connection.
type endpoint struct {
	side          side
	local, remote uint16
}

// life is the states that an endpoint has gone through, and what it is now.
type life struct {
	path []string
	now  kernel.Socket
	gone bool
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
	for _, s := range []side{client, server} {
		sockets, err := b.census[s].Sockets(watched)
		b.check(err, "look at the "+s.String())
		now := time.Since(b.began).Seconds()
		b.note() // what has led there
		seen := map[endpoint]bool{}
		for _, k := range sockets {
			if k.State == kernel.Listen {
				continue
			}
			at := endpoint{s, k.Local.Port(), k.Remote.Port()}
			seen[at] = true
			l := b.known[at]
			if l == nil || l.gone {
				l = &life{}
				b.known[at] = l
			}
			l.now = k
			b.enter(now, at, l, k.State.String())
		}
		for _, at := range slices.SortedFunc(maps.Keys(b.known), byPorts) {
			if l := b.known[at]; at.side == s && !seen[at] && !l.gone {
				l.gone, l.now = true, kernel.Socket{}
				b.enter(now, at, l, closed)
			}
		}
	}
}

func byPorts(x, y endpoint) int {
	return (int(x.local)-int(y.local))*65536 + int(x.remote) - int(y.remote)
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

// is waits until an endpoint is in a state.
func (b *bench) is(at endpoint, state string) {
	b.await(fmt.Sprintf("%s in %s", at.side, state), func() bool { return b.state(at) == state })
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
func (b *bench) socketAt(at endpoint) kernel.Socket {
	if l := b.known[at]; l != nil {
		return l.now
	}
	return kernel.Socket{}
}

// listener is what the kernel shows of the listening socket of a port.
func (b *bench) listener(of side, at uint16) kernel.Socket {
	sockets, err := b.census[of].Sockets(watched)
	b.check(err, "look at the "+of.String())
	for _, k := range sockets {
		if k.State == kernel.Listen && k.Local.Port() == at {
			return k
		}
	}
	return kernel.Socket{}
}

// listeners is how many sockets listen, on both hosts.
func (b *bench) listeners() (n int) {
	for _, s := range []side{client, server} {
		sockets, err := b.census[s].Sockets(watched)
		b.check(err, "look at the "+s.String())
		for _, k := range sockets {
			if k.State == kernel.Listen {
				n++
			}
		}
	}
	return n
}
