package sockets

import (
	"bytes"
	"regexp"
	"regexp/syntax"

	"tcpbench/loadgen"
	"tcpbench/metrics"
)

// ending tells where an answer ends.
type ending struct {
	loadgen.Until
	// literal is what the pattern matches if that is one text.
	literal []byte
	whole   *regexp.Regexp // for an answer that is there in one piece
	pieces  *pattern       // for one that is not
}

func newEnding(u loadgen.Until) ending {
	e := ending{Until: u}
	if u.Kind != loadgen.Match {
		return e
	}
	e.whole = regexp.MustCompile(u.Pattern) // validate has compiled it, and so package syntax can
	tree, _ := syntax.Parse(u.Pattern, syntax.Perl)
	if tree = tree.Simplify(); tree.Op == syntax.OpLiteral && tree.Flags&syntax.FoldCase == 0 {
		e.literal = []byte(string(tree.Rune))
	}
	e.pieces, _ = newPattern(tree)
	return e
}

// inOnePiece tells whether the pattern is in an answer that came in one piece.
func (e *ending) inOnePiece(answer []byte) bool {
	if len(e.literal) > 0 {
		return bytes.Contains(answer, e.literal)
	}
	return e.whole.Match(answer)
}

// goesOn tells whether the pattern is in what has come, whose last bytes, so many, are new.
func (e *ending) goesOn(m *matchState, seen []byte, fresh int) bool {
	if len(e.literal) > 0 {
		return bytes.Contains(seen[max(0, len(seen)-fresh-len(e.literal)+1):], e.literal)
	}
	if len(seen) == fresh {
		m.begin()
	}
	return e.pieces.feed(m, seen[len(seen)-fresh:])
}

// after returns what follows the first match. It allocates, and is for answers that come
// together because one of them was late.
func (e *ending) after(seen []byte) []byte {
	if len(e.literal) > 0 {
		return seen[bytes.Index(seen, e.literal)+len(e.literal):]
	}
	return seen[e.whole.FindIndex(seen)[1]:]
}

// reached tells whether an answer of any server's is whole with the bytes just read. One
// that comes in a single piece is matched where it was read, and takes no memory.
func (l *loop) reached(slot int32, e *ending, chunk []byte) (bool, metrics.Outcome) {
	c := &l.conns[slot]
	if e.Kind == loadgen.AtLeast {
		return c.received >= e.Bytes, metrics.Succeeded
	}
	// What follows the answer matters only where another one is due.
	if len(l.seen[slot]) == 0 && c.pending <= 1 && e.inOnePiece(chunk) {
		return true, metrics.Succeeded
	}
	seen := append(l.seen[slot], chunk...)
	l.seen[slot] = seen
	if e.goesOn(&l.matchStates[slot], seen, len(chunk)) {
		return true, metrics.Succeeded
	}
	if len(seen) > loadgen.MaxMatch {
		return false, metrics.Unexpected
	}
	return false, metrics.Succeeded
}

// another drops the answer that is whole, and tells whether another one is here already.
func (l *loop) another(slot int32, e *ending) bool {
	c := &l.conns[slot]
	if e.Kind == loadgen.AtLeast {
		c.received -= e.Bytes
		return c.received >= e.Bytes
	}
	seen := l.seen[slot]
	seen = append(seen[:0], e.after(seen)...)
	l.seen[slot] = seen
	c.received = int64(len(seen))
	return len(seen) > 0 && e.goesOn(&l.matchStates[slot], seen, len(seen))
}

// clear forgets what has come: the answer is whole, or nobody waits for it any more.
func (l *loop) clear(slot int32) {
	l.conns[slot].received = 0
	if l.seen != nil {
		l.seen[slot] = l.seen[slot][:0]
	}
	l.ear.forget(slot)
}
