package sockets

import (
	"golang.org/x/sys/unix"

	"tcpbench/internal/epoll"
	"tcpbench/internal/wire"
	"tcpbench/metrics"
)

// leave: the script is played; what is left is the close.
func (l *loop) leave(slot int32, mask uint32) {
	c := &l.conns[slot]
	switch {
	case l.Lifecycle.CloseBy == wire.Server:
		l.enter(slot, awaiting)
		if mask&ended != 0 {
			l.onAwaiting(slot)
		}
		return
	case l.Lifecycle.CloseHow == wire.RST:
		if errno := abortOnClose(int(c.fd)); errno != 0 {
			l.fail(slot, metrics.StageClose, errno)
			return
		}
	case l.Lifecycle.CloseWait || l.Lifecycle.CloseHow == wire.HalfClose:
		if l.Lifecycle.CloseHow != wire.HalfClose { // else our FIN went with the last request
			c.mark = l.clock()
			if errno := shutdownWrite(int(c.fd)); errno != 0 {
				l.fail(slot, metrics.StageClose, errno)
				return
			}
		}
		l.enter(slot, closing)
		if mask&(ended|epoll.In) != 0 {
			l.onClosing(slot)
		}
		return
	}
	l.finish(slot, metrics.StageClose, metrics.Succeeded)
}

// onAwaiting: the server closes, in the way its script says.
func (l *loop) onAwaiting(slot int32) {
	c := &l.conns[slot]
	n, errno := read(int(c.fd), l.buffer)
	switch {
	case errno == unix.EAGAIN:
	case errno == unix.ECONNRESET && l.Lifecycle.CloseHow == wire.RST,
		errno == 0 && n == 0 && l.Lifecycle.CloseHow == wire.FIN:
		l.finish(slot, metrics.StageClose, metrics.Succeeded)
	case errno != 0:
		l.fail(slot, metrics.StageClose, errno)
	case l.refused(slot, metrics.StageClose, n):
	default: // bytes behind the response, or a FIN where a RST was asked for
		l.ear.hear(slot, l.buffer[:n])
		l.finish(slot, metrics.StageClose, metrics.Unexpected)
	}
}

// onClosing: own FIN is sent; whatever the peer still says is read and dropped.
func (l *loop) onClosing(slot int32) {
	c := &l.conns[slot]
	for range readsPerEvent {
		n, errno := read(int(c.fd), l.buffer)
		if errno == unix.EAGAIN {
			return
		}
		if errno == 0 && n > 0 {
			continue
		}
		if c.measured && (errno == 0 || errno == unix.ECONNRESET) {
			l.hist.closeTime.Record(l.clock() - c.mark)
		}
		if errno != 0 {
			l.fail(slot, metrics.StageClose, errno)
		} else {
			l.finish(slot, metrics.StageClose, metrics.Succeeded)
		}
		return
	}
	l.readLater(slot)
}
