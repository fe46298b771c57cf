package server

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// source is one address that others connect from. sources guards it.
type source struct {
	addr netip.Addr
	// connections are those it has, and refused the ones among them that only wait to be
	// told so.
	connections, refused int
	// paid is the time until which the bytes that it has ordered would keep it busy at
	// the rate that it may have. It is never more than a second ahead.
	paid time.Time
}

// sources are all that have a connection, or have ordered something within the last second.
type sources struct {
	bounds *Bounds
	mu     sync.Mutex
	of     map[netip.Addr]*source
	// left are those that had no connection any more, in the order in which it ended.
	left []departure
}

type departure struct {
	source *source
	at     time.Time
}

// refusedRoom bounds the connections of one source that only wait to be told that they are
// refused.
const refusedRoom = 16

func newSources(b *Bounds) *sources {
	return &sources{bounds: b, of: map[netip.Addr]*source{}}
}

// enter counts a connection and gives it its source. It is false if the source has as many
// as it may; the connection then has a source only if there is room for it to wait.
func (s *sources) enter(c *conn, addr netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(time.Now())
	src := s.of[addr]
	if src == nil {
		src = &source{addr: addr}
		s.of[addr] = src
	}
	over := s.bounds.Connections > 0 && src.connections-src.refused >= s.bounds.Connections
	if over {
		if src.refused == refusedRoom {
			return false
		}
		src.refused++
	}
	src.connections++
	c.source = src
	return !over
}

// leave is the end of a connection.
func (s *sources) leave(src *source, refused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	src.connections--
	if refused {
		src.refused--
	}
	if src.connections == 0 {
		s.left = append(s.left, departure{src, time.Now()})
	}
}

// sweep forgets sources that are gone and owe nothing. It does no more of them than others
// come, and so stays ahead.
func (s *sources) sweep(now time.Time) {
	for range 2 {
		if len(s.left) == 0 || now.Sub(s.left[0].at) < time.Second {
			return
		}
		src := s.left[0].source
		s.left = s.left[1:]
		// One that came again and has ordered more is in the list once more.
		if src.connections == 0 && !src.paid.After(now) && s.of[src.addr] == src {
			delete(s.of, src.addr)
		}
	}
}

// order books as many of n responses as the rate allows, and returns how many.
func (s *sources) order(src *source, size, n uint64) uint64 {
	each := float64(size) / float64(s.bounds.Rate) * float64(time.Second)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if src.paid.Before(now) {
		src.paid = now
	}
	room := time.Second - src.paid.Sub(now)
	fit := min(n, uint64(float64(room)/each))
	src.paid = src.paid.Add(time.Duration(float64(fit) * each))
	return fit
}

// sourceOf is the source that connections from an address count for.
func sourceOf(remote net.Addr) netip.Addr {
	addr := netip.Addr{}
	if tcp, ok := remote.(*net.TCPAddr); ok {
		addr, _ = netip.AddrFromSlice(tcp.IP) // IPv4 and IPv6 addresses alone connect
	}
	if addr = addr.Unmap(); addr.Is6() {
		network, _ := addr.Prefix(64) // which no IPv6 address is too short for
		return network.Addr()
	}
	return addr
}
