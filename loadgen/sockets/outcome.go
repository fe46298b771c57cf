package sockets

import (
	"golang.org/x/sys/unix"

	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/metrics"
)

// outcomes name what an errno says about an attempt. Zero is a FIN before the end of the script.
var outcomes = map[unix.Errno]metrics.Outcome{
	0:                  metrics.ClosedEarly,
	unix.EADDRNOTAVAIL: metrics.PortsExhausted, unix.EADDRINUSE: metrics.PortsExhausted,
	unix.EMFILE: metrics.DescriptorsExceeded, unix.ENFILE: metrics.DescriptorsExceeded,
	unix.ENOBUFS: metrics.NoBuffers, unix.ENOMEM: metrics.NoBuffers,
	unix.EACCES: metrics.Denied, unix.EPERM: metrics.Denied,
	unix.EINVAL: metrics.BadAddress, unix.EAFNOSUPPORT: metrics.BadAddress,
	unix.ECONNREFUSED: metrics.Refused,
	unix.EHOSTUNREACH: metrics.Unreachable, unix.ENETUNREACH: metrics.Unreachable, unix.EHOSTDOWN: metrics.Unreachable, unix.ENETDOWN: metrics.Unreachable,
	unix.ECONNRESET: metrics.Reset, unix.EPIPE: metrics.Reset, unix.ECONNABORTED: metrics.Reset,
	unix.ETIMEDOUT: metrics.KernelTimeout,
}

// outcomeOf names what an errno says about an attempt at a stage: EADDRNOTAVAIL from connect() says
// that no port is free (__inet_hash_connect), from bind() that the address is not this host's.
func outcomeOf(stage metrics.Stage, errno unix.Errno) metrics.Outcome {
	if errno == unix.EADDRNOTAVAIL && stage == metrics.StageSocket {
		return metrics.BadAddress
	}
	if outcome, known := outcomes[errno]; known {
		return outcome
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
