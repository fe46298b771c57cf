package sockets

import (
	"tcpbench/loadgen"
	"tcpbench/metrics"
)

// How much is kept of what servers said on connections that failed.
const (
	saidFirst = 256 // failures of one name that are all looked at
	saidEvery = 64  // after these, one failure in this many
	saidOpen  = 64  // unfinished answers of one loop whose beginning is kept at once
)

// ear keeps the beginnings of answers that are not complete yet, in memory that is there before the
// first connection. An answer that is complete after one read is never copied.
type ear struct {
	places []uint8 // by slot, which of starts it has, counted from 1; nil if nothing is kept
	free   []uint8
	starts [saidOpen][]byte
}

// newEar returns one that hears foreign servers: the answers of a tcpbench server are zeros.
func newEar(life *loadgen.Lifecycle, slots uint64) ear {
	if life.ConnectOnly || life.Response.Kind == loadgen.Exactly {
		return ear{}
	}
	e := ear{places: make([]uint8, slots)}
	memory := make([]byte, saidOpen*metrics.SaidBytes)
	for i := range e.starts {
		e.starts[i] = memory[i*metrics.SaidBytes : i*metrics.SaidBytes : (i+1)*metrics.SaidBytes]
		e.free = append(e.free, uint8(i+1))
	}
	return e
}

// hear keeps a piece of an answer that is not complete, if there is room.
func (e *ear) hear(slot int32, chunk []byte) {
	if e.places == nil {
		return
	}
	place := e.places[slot]
	if place == 0 {
		if len(e.free) == 0 {
			return
		}
		place = e.free[len(e.free)-1]
		e.free = e.free[:len(e.free)-1]
		e.places[slot] = place
	}
	start := &e.starts[place-1]
	*start = append(*start, chunk[:min(len(chunk), cap(*start)-len(*start))]...)
}

// forget drops what was kept of a connection.
func (e *ear) forget(slot int32) {
	if e.places == nil || e.places[slot] == 0 {
		return
	}
	place := e.places[slot]
	e.starts[place-1] = e.starts[place-1][:0]
	e.free = append(e.free, place)
	e.places[slot] = 0
}

// noteAnswer counts what the server said on a connection that fails, while its socket is open.
func (l *loop) noteAnswer(slot int32, stage metrics.Stage, outcome metrics.Outcome) {
	e := &l.replies.ear
	if e.places == nil || stage < metrics.StageHello {
		return
	}
	if n := l.ends[stage][outcome]; n >= saidFirst && n%saidEvery != 0 {
		return
	}
	if e.places[slot] == 0 {
		// The error may have come before the loop read what came before it.
		if n, errno := read(int(l.conns[slot].fd), l.buffer); errno == 0 && n > 0 {
			e.hear(slot, l.buffer[:n])
		}
	}
	if place := e.places[slot]; place != 0 {
		l.report.Said = l.report.Said.Merge(&metrics.Said{Texts: []metrics.SaidText{{
			Failure: metrics.FailureName(stage, outcome), Text: metrics.Escape(e.starts[place-1]), Count: 1,
		}}}).Shortened()
	}
}
