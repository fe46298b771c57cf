package sockets

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/metrics"
)

func TestOutcomeOf(t *testing.T) {
	const (
		atSocket   = metrics.StageSocket
		atConnect  = metrics.StageConnect
		atExchange = metrics.StageExchange
		atClose    = metrics.StageClose
	)
	for _, c := range []struct {
		stage metrics.Stage
		errno unix.Errno
		want  string
	}{
		{atSocket, unix.EMFILE, "socket.descriptors"},
		{atSocket, unix.ENFILE, "socket.descriptors"},
		{atSocket, unix.ENOBUFS, "socket.no_buffers"},
		{atSocket, unix.ENOMEM, "socket.no_buffers"},
		{atSocket, unix.EACCES, "socket.denied"},
		{atSocket, unix.EAFNOSUPPORT, "socket.bad_address"},
		{atSocket, unix.EADDRNOTAVAIL, "socket.bad_address"},
		{atSocket, unix.EADDRINUSE, "socket.ports_exhausted"},
		{atSocket, unix.EPROTONOSUPPORT, "socket.other_error"},
		{atConnect, unix.EADDRNOTAVAIL, "connect.ports_exhausted"},
		{atConnect, unix.EADDRINUSE, "connect.ports_exhausted"},
		{atConnect, unix.ECONNREFUSED, "connect.refused"},
		{atConnect, unix.EHOSTUNREACH, "connect.unreachable"},
		{atConnect, unix.ENETUNREACH, "connect.unreachable"},
		{atConnect, unix.EHOSTDOWN, "connect.unreachable"},
		{atConnect, unix.ENETDOWN, "connect.unreachable"},
		{atConnect, unix.ETIMEDOUT, "connect.kernel_timeout"},
		{atConnect, unix.EACCES, "connect.denied"},
		{atConnect, unix.EPERM, "connect.denied"},
		{atConnect, unix.EINVAL, "connect.bad_address"},
		{atConnect, unix.ENOBUFS, "connect.no_buffers"},
		{atConnect, unix.ENOSPC, "connect.other_error"}, // epoll_ctl: fs.epoll.max_user_watches
		{atExchange, unix.ECONNRESET, "exchange.reset"},
		{atExchange, unix.EPIPE, "exchange.reset"},
		{atExchange, unix.ETIMEDOUT, "exchange.kernel_timeout"},
		{atExchange, unix.EHOSTUNREACH, "exchange.unreachable"},
		{atExchange, unix.EIO, "exchange.other_error"},
		{atClose, unix.ECONNRESET, "close.reset"},
		{atClose, unix.ECONNABORTED, "close.reset"},
		{atClose, unix.ENOTCONN, "close.other_error"},
	} {
		if got := metrics.FailureName(c.stage, outcomeOf(c.stage, c.errno)); got != c.want {
			t.Errorf("%s at %s: %s, want %s", unix.ErrnoName(c.errno), c.stage, got, c.want)
		}
	}
}

// No errno is a success, and only a lack of resources makes the client back off.
func TestNoErrnoSucceeds(t *testing.T) {
	want := map[unix.Errno]bool{
		unix.EADDRINUSE: true, unix.EMFILE: true, unix.ENFILE: true, unix.ENOBUFS: true, unix.ENOMEM: true,
	}
	for errno := unix.Errno(1); errno < 134; errno++ {
		for stage := range metrics.Stages {
			outcome := outcomeOf(stage, errno)
			if outcome == metrics.Succeeded || outcome >= metrics.Outcomes {
				t.Errorf("%s at %s is outcome %d", unix.ErrnoName(errno), stage, outcome)
			}
			if got, want := scarce(outcome), want[errno] || errno == unix.EADDRNOTAVAIL && stage != metrics.StageSocket; got != want {
				t.Errorf("%s at %s is scarce: %v, want %v", unix.ErrnoName(errno), stage, got, want)
			}
		}
	}
}

// scripted is the life of a script, with or without refusals.
func scripted(s wire.Script, refusals bool) loadgen.Lifecycle {
	s.Refusals = refusals
	return loadgen.Scripted(s)
}

func words(r wire.Refusal) string { return string(r.Append(nil)) }

// A refusal is recognized whenever it comes. A client that did not ask for refusals takes it for a
// response.
func TestRefusals(t *testing.T) {
	none := words(wire.NoDescriptors)
	short := wire.Script{RequestSize: 4, ResponseSize: 64, Exchanges: 1}
	const header = wire.HeaderSize + 4
	equal := short
	equal.ResponseSize = wire.HeaderSize // a response as long as the words
	long := short
	long.RequestSize = 8 << 20 // more than the buffers of both sides
	several := short
	several.Exchanges = 2
	server := short
	server.CloseBy = wire.Server
	held := scripted(short, true)
	held.Stay = time.Minute
	ping := loadgen.Scripted(wire.Script{Kind: wire.Ping, Refusals: true, RequestSize: 4, ResponseSize: 4, Exchanges: 3, Beat: time.Second})
	ping.Beat = &loadgen.Heartbeat{Every: time.Second, Missed: 3, Design: loadgen.ServerPings}
	answer := string(make([]byte, 64))
	lead(t, []life{
		{name: "by FIN", play: after(header, says(none, closes)), Lifecycle: scripted(short, true), ends: "exchange.server_descriptors"},
		{name: "by RST", play: after(header, says(none, resets)), Lifecycle: scripted(short, true), ends: "exchange.server_descriptors"},
		{name: "as long as a response", play: after(header, says(none, closes)), Lifecycle: scripted(equal, true), ends: "exchange.server_descriptors"},
		{name: "the rest unread", play: after(wire.HeaderSize, says(none, closes)), Lifecycle: scripted(long, true), ends: "exchange.server_descriptors"},
		{name: "after a response", play: after(header, says(answer, after(4, says(words(wire.TooFast), closes)))), Lifecycle: scripted(several, true), ends: "exchange.server_rate"},
		{name: "with a response", play: after(header, says(answer+words(wire.TooManyBytes), closes)), Lifecycle: scripted(several, true), ends: "exchange.server_bytes"},
		{name: "while it rests", play: after(header, says(answer, says(words(wire.TooLong), closes))), Lifecycle: held, ends: "exchange.server_life"},
		{name: "in place of the server's close", play: after(header, says(answer, func(c *tcp) error {
			time.Sleep(10 * time.Millisecond) // or both are one segment
			return says(words(wire.TooLong), closes)(c)
		})), Lifecycle: scripted(server, true), ends: "close.server_life"},
		{name: "in place of a ping", play: after(header, says(words(wire.TooManyConnections), closes)), Lifecycle: ping, ends: "exchange.server_connections"},
		{name: "of a later version", play: after(header, says(words(999), closes)), Lifecycle: scripted(short, true), ends: "exchange.server_refused"},
		{name: "a reset without words", play: after(header, resets), Lifecycle: scripted(short, true), ends: "exchange.reset"},
		{name: "not asked for", play: after(header, says(none, closes)), Lifecycle: scripted(short, false), ends: "exchange.closed_early"},
	})
}

// Every refusal of the protocol has an outcome of its own.
func TestRefusalsHaveTheirOutcomes(t *testing.T) {
	seen := map[metrics.Outcome]bool{}
	for r := wire.NoDescriptors; r <= wire.TooLarge; r++ {
		o := outcomeOfRefusal(r)
		if seen[o] || o == metrics.ServerRefused || o == metrics.Succeeded {
			t.Errorf("refusal %d is %s", r, o)
		}
		seen[o] = true
	}
	if o := outcomeOfRefusal(wire.TooLarge + 1); o != metrics.ServerRefused {
		t.Errorf("a refusal that nobody knows is %s", o)
	}
}
