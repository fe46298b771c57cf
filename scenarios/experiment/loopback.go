package experiment

import (
	"context"
	"net/netip"

	"golang.org/x/sys/unix"

	"tcpbench/internal/kernel/sockdiag"
	"tcpbench/metrics"
)

// story is what is done on loopback in place of a lab, and what it finds out. There are no
// gates and no settings of a host to change: what is set is set on sockets, and what is seen
// comes from TCP_INFO and sock_diag(7) of these sockets alone, because the counters of a host
// count other programs, too.
type story struct {
	facts []Fact
	do    func(*bench)
}

// Loopback are the addresses of the two sides on loopback. The client has the one that the
// kernel takes where none was bound; nobody else is likely to listen at the server's.
var Loopback = [...]netip.Addr{
	client: netip.AddrFrom4([4]byte{127, 0, 0, 1}),
	server: netip.AddrFrom4([4]byte{127, 0, 18, 2}),
}

// OnLoopback tells whether the experiment can be done without a lab.
func (e *Experiment) OnLoopback() bool { return e.onLoopback != nil }

// LoopbackFacts are what it finds out there.
func (e *Experiment) LoopbackFacts() []Fact {
	if e.onLoopback == nil {
		return nil
	}
	return e.onLoopback.facts
}

// RunOnLoopback does the experiment on this host's loopback, on sockets with these options. It
// ends and tells as Run does.
func (e *Experiment) RunOnLoopback(ctx context.Context, client, server Options, tell func(metrics.Event)) (*metrics.Experiment, error) {
	b := &bench{ctx: ctx, tell: tell, promised: e.onLoopback.facts, options: [2]Options{client, server}}
	return e.perform(b, e.onLoopback.do)
}

// on calls f where a side lives: in its namespace, or here on loopback.
func (b *bench) on(s side, f func() error) error {
	if b.lab == nil {
		return f()
	}
	return b.host(s).Do(f)
}

// free is a port to listen at: in a lab all are free, and on loopback the kernel chooses one.
func (b *bench) free(p uint16) uint16 {
	if b.lab == nil {
		return 0
	}
	return p
}

// info is TCP_INFO of a socket.
func (s *socket) info() *unix.TCPInfo {
	info, err := unix.GetsockoptTCPInfo(s.fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	s.bench.check(err, "read TCP_INFO")
	return info
}

// asLimited tells whether the kernel holds bytes back because the peer's window has no room
// for them: nothing is under way, something waits, no segment has room, and the timer of window
// probes runs, which runs at other times, too.
func (s *socket) asLimited() bool {
	info := s.info()
	return info.Unacked == 0 && info.Notsent_bytes > 0 && info.Snd_wnd < info.Snd_mss && s.bench.socketAt(s.at()).Timer == sockdiag.ProbeTimer
}

// accepting is what the kernel shows of a listening socket's own accept queue.
func (s *socket) accepting() sockdiag.Listener {
	at := s.local()
	all, err := s.bench.census[s.side].Listeners([]sockdiag.Ports{{Low: at.Port(), High: at.Port()}})
	s.bench.check(err, "look at the "+s.side.String())
	for _, l := range all {
		if l.Addr == at {
			return l
		}
	}
	return sockdiag.Listener{}
}
