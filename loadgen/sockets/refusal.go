package sockets

import (
	"tcpbench/internal/wire"
	"tcpbench/metrics"
)

// refusable tells whether a tcpbench server may say why it refuses: the request begins
// with a header that asks for it.
func refusable(request []byte) bool {
	script, err := wire.Parse(request)
	return err == nil && script.Refusals
}

// refusals are the outcomes of attempts that a server has refused by words.
var refusals = map[wire.Refusal]metrics.Outcome{
	wire.NoDescriptors:      metrics.ServerDescriptors,
	wire.TooManyConnections: metrics.ServerConnections,
	wire.TooFast:            metrics.ServerRate,
	wire.TooManyBytes:       metrics.ServerBytes,
	wire.TooLong:            metrics.ServerLife,
	wire.TooLarge:           metrics.ServerSize,
}

// refused tells whether the n bytes that were just read end by a refusal, and ends the
// attempt if they do.
func (l *loop) refused(slot int32, stage metrics.Stage, n int) bool {
	if !l.refusable || n < wire.HeaderSize {
		return false
	}
	said := wire.ParseRefusal(l.buffer[:n])
	if said != 0 {
		l.finish(slot, stage, outcomeOfRefusal(said))
	}
	return said != 0
}

func outcomeOfRefusal(said wire.Refusal) metrics.Outcome {
	if outcome, known := refusals[said]; known {
		return outcome
	}
	return metrics.ServerRefused // by a server of a later version
}

// behindReset looks for the words of a server that came before its RST: those that were
// not read before a write met the RST can still be.
func (l *loop) behindReset(c *conn) metrics.Outcome {
	for l.refusable && c.fd >= 0 {
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
