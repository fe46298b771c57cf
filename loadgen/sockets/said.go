package sockets

import (
	"bytes"

	"tcpbench/loadgen"
	"tcpbench/metrics"
)

// How much is kept of what servers said on connections that failed.
const (
	saidTexts = 16  // different answers of one loop; more are counted together
	saidFirst = 256 // failures of one name that are all looked at
	saidEvery = 64  // after these, one failure in so many
	saidOpen  = 64  // unfinished answers of one loop whose beginning is kept at once
)

// ear keeps how the answers begin that are not whole yet, and counts those of connections
// that fail. An answer that comes whole in one read is never copied. All memory but that
// of a new text is there before the first connection.
type ear struct {
	places []uint8 // by slot, which of starts it has, counted from 1; nil if nothing is kept
	free   []uint8
	starts [saidOpen][]byte
	texts  []said
	others uint64
}

// said is an answer that connections with one kind of end got.
type said struct {
	stage   metrics.Stage
	outcome metrics.Outcome
	text    []byte
	count   uint64
}

// newEar returns one that hears foreign servers: of a tcpbench server all answers are
// zeros.
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

// hear keeps a piece of an answer that is not whole, as far as there is room.
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

// noteAnswer counts what the server said on a connection that fails. Its socket is open.
func (l *loop) noteAnswer(slot int32, stage metrics.Stage, outcome metrics.Outcome) {
	e := &l.replies.ear
	if e.places == nil || stage < metrics.StageHello {
		return
	}
	if n := l.ends[stage][outcome]; n >= saidFirst && n%saidEvery != 0 {
		return
	}
	if e.places[slot] == 0 {
		// The error may have come before anybody read what came before it.
		if n, errno := read(int(l.conns[slot].fd), l.buffer); errno == 0 && n > 0 {
			e.hear(slot, l.buffer[:n])
		}
	}
	if place := e.places[slot]; place != 0 {
		e.count(stage, outcome, e.starts[place-1])
	}
}

func (e *ear) count(stage metrics.Stage, outcome metrics.Outcome, text []byte) {
	for i := range e.texts {
		if s := &e.texts[i]; s.stage == stage && s.outcome == outcome && bytes.Equal(s.text, text) {
			s.count++
			return
		}
	}
	if len(e.texts) == saidTexts {
		e.others++
		return
	}
	e.texts = append(e.texts, said{stage, outcome, bytes.Clone(text), 1})
}

// report is what was counted, in the form of a result.
func (e *ear) report() *metrics.Said {
	if len(e.texts) == 0 {
		return nil
	}
	r := &metrics.Said{Others: e.others}
	for _, s := range e.texts {
		r.Texts = append(r.Texts, metrics.SaidText{
			Failure: metrics.FailureName(s.stage, s.outcome), Text: metrics.Escape(s.text), Count: s.count,
		})
	}
	return r
}
