package sockets

import (
	"testing"

	"golang.org/x/sys/unix"

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

// No errno means success, and only those that say that this host ran out of something
// hold arrivals back.
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
