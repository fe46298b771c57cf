package sockets

import (
	"golang.org/x/sys/unix"

	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/metrics"
)

// outcomeOf names what an errno says about an attempt. The same errno can mean different things at
// different stages: EADDRNOTAVAIL from connect() says that no port is free (__inet_hash_connect),
// from bind() that the address is not this host's. Zero is a FIN before the end of the script.
func outcomeOf(stage metrics.Stage, errno unix.Errno) metrics.Outcome {
	switch errno {
	case 0:
		return metrics.ClosedEarly
	case unix.EADDRNOTAVAIL:
		if stage == metrics.StageSocket {
			return metrics.BadAddress
		}
		return metrics.PortsExhausted
	case unix.EADDRINUSE:
		return metrics.PortsExhausted
	case unix.EMFILE, unix.ENFILE:
		return metrics.DescriptorsExceeded
	case unix.ENOBUFS, unix.ENOMEM:
		return metrics.NoBuffers
	case unix.EACCES, unix.EPERM:
		return metrics.Denied
	case unix.EINVAL, unix.EAFNOSUPPORT:
		return metrics.BadAddress
	case unix.ECONNREFUSED:
		return metrics.Refused
	case unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN, unix.ENETDOWN:
		return metrics.Unreachable
	case unix.ECONNRESET, unix.EPIPE, unix.ECONNABORTED:
		return metrics.Reset
	case unix.ETIMEDOUT:
		return metrics.KernelTimeout
	}
	return metrics.OtherError
}

// scarce tells whether an outcome means that this host has run out of something.
// Trying again at once would only burn the processor.
func scarce(o metrics.Outcome) bool {
	return o == metrics.PortsExhausted || o == metrics.DescriptorsExceeded || o == metrics.NoBuffers
}

// refusals are the outcomes of attempts that a tcpbench server has refused by words.
var refusals = map[wire.Refusal]metrics.Outcome{
	wire.NoDescriptors:      metrics.ServerDescriptors,
	wire.TooManyConnections: metrics.ServerConnections,
	wire.TooFast:            metrics.ServerRate,
	wire.TooManyBytes:       metrics.ServerBytes,
	wire.TooLong:            metrics.ServerLife,
	wire.TooLarge:           metrics.ServerSize,
}

func outcomeOfRefusal(said wire.Refusal) metrics.Outcome {
	if outcome, known := refusals[said]; known {
		return outcome
	}
	return metrics.ServerRefused // by a server of a later version
}

// refused tells whether the n bytes that were just read end by a refusal, and ends the
// attempt if they do.
func (l *loop) refused(slot int32, n int) bool {
	if !l.script.refusable || n < wire.HeaderSize {
		return false
	}
	said := wire.ParseRefusal(l.buffer[:n])
	if said != 0 {
		l.finish(slot, stageOf[l.conns[slot].state], outcomeOfRefusal(said))
	}
	return said != 0
}

// beforeReset looks for the words of a server that came before its RST: if a write met the RST
// they can still be read.
func (l *loop) beforeReset(c *conn) metrics.Outcome {
	for l.script.refusable && c.fd >= 0 {
		n, errno := read(int(c.fd), l.buffer)
		if errno != 0 || n == 0 {
			break
		}
		if said := wire.ParseRefusal(l.buffer[:n]); said != 0 {
			return outcomeOfRefusal(said)
		}
	}
	return metrics.Reset
}

// fail ends an attempt by an errno, or parks it if that is the policy.
func (l *loop) fail(slot int32, stage metrics.Stage, errno unix.Errno) {
	outcome := outcomeOf(stage, errno)
	if scarce(outcome) {
		l.arrivals.Backoff.Fail(l.clock())
	}
	if outcome == metrics.PortsExhausted {
		l.lack()
		switch l.OnExhausted {
		case loadgen.WaitExhausted:
			l.park(slot)
			return
		case loadgen.StopExhausted:
			l.stop("no four-tuple was free, and --on-exhausted is stop")
		}
	}
	l.finish(slot, stage, outcome)
}

// failConnect ends an attempt in connecting. In SYN-SENT a RST is ECONNREFUSED (tcp_reset): if it came
// later, or HUP came alone because both directions are down, the server has accepted.
func (l *loop) failConnect(slot int32, errno unix.Errno) {
	stage := metrics.StageConnect
	if errno == 0 {
		errno = unix.ECONNRESET
	}
	if errno == unix.ECONNRESET || errno == unix.EPIPE {
		stage = metrics.StageExchange
		if l.Lifecycle.Hello != nil {
			stage = metrics.StageHello
		}
		l.report.Established++
	}
	l.fail(slot, stage, errno)
}

// lose ends a connection whose peer is gone, and notes how long it took to find out.
func (l *loop) lose(slot int32, outcome metrics.Outcome) {
	c := &l.conns[slot]
	stage := stageOf[c.state]
	// A client that pings a listener hears nothing, whether it is alive or dead.
	if stage == metrics.StageExchange && l.Lifecycle.Beat != nil && !l.Lifecycle.Beats(loadgen.ServerListens) && c.measured {
		l.hist.record(detect, l.clock()-c.heard)
	}
	l.finish(slot, stage, outcome)
}
