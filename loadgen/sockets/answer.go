package sockets

import (
	"bytes"
	"regexp"
	"regexp/syntax"

	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/metrics"
)

// ending tells where an answer ends.
type ending struct {
	loadgen.Until
	literal []byte         // what the pattern matches if that is one text
	whole   *regexp.Regexp // for an answer that came in one piece
	pieces  *pattern       // for one that did not
}

func newEnding(u loadgen.Until) ending {
	e := ending{Until: u}
	if u.Kind != loadgen.Match {
		return e
	}
	e.whole = regexp.MustCompile(u.Pattern) // Validate has compiled it, and so package syntax can
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

// goesOn tells whether the pattern is in what has come. The last bytes, fresh of them, are new.
func (e *ending) goesOn(m *matchState, seen []byte, fresh int) bool {
	if len(e.literal) > 0 {
		return bytes.Contains(seen[max(0, len(seen)-fresh-len(e.literal)+1):], e.literal)
	}
	if len(seen) == fresh {
		m.begin()
	}
	return e.pieces.feed(m, seen[len(seen)-fresh:])
}

// after returns what follows the first match. It allocates: it is for answers that come together
// because one of them was late.
func (e *ending) after(seen []byte) []byte {
	if len(e.literal) > 0 {
		return seen[bytes.Index(seen, e.literal)+len(e.literal):]
	}
	return seen[e.whole.FindIndex(seen)[1]:]
}

// replies are what servers have answered so far, by slot, as far as somebody must look at it again.
type replies struct {
	seen    [][]byte     // the answer, for Until.Match; nil if nothing is matched
	matches []matchState // how far the answer has been looked at
	content content
	ear     ear
}

func newReplies(life *loadgen.Lifecycle, s *script, slots uint64) replies {
	r := replies{ear: newEar(life, slots)}
	if life.Pattern {
		r.content.places = make([]uint64, slots)
	}
	if (s.until.Kind == loadgen.Match || s.hello.Kind == loadgen.Match) && !life.ConnectOnly {
		r.seen, r.matches = make([][]byte, slots), make([]matchState, slots)
	}
	return r
}

// reached tells whether the answer of any server is complete with the bytes just read, of received.
// An answer that came in one piece is matched where it was read, and takes no memory. With more,
// another answer may follow. The outcome is Unexpected if the answer is too long.
func (r *replies) reached(slot int32, e *ending, chunk []byte, received int64, more bool) (bool, metrics.Outcome) {
	if e.Kind == loadgen.AtLeast {
		return received >= e.Bytes, metrics.Succeeded
	}
	if len(r.seen[slot]) == 0 && !more && e.inOnePiece(chunk) {
		return true, metrics.Succeeded
	}
	seen := append(r.seen[slot], chunk...)
	r.seen[slot] = seen
	if e.goesOn(&r.matches[slot], seen, len(chunk)) {
		return true, metrics.Succeeded
	}
	if len(seen) > loadgen.MaxMatch {
		return false, metrics.Unexpected
	}
	return false, metrics.Succeeded
}

// another drops the answer that is complete, of received bytes. It returns how many are left, and
// whether they have another answer.
func (r *replies) another(slot int32, e *ending, received int64) (left int64, whole bool) {
	if e.Kind == loadgen.AtLeast {
		left = received - e.Bytes
		return left, left >= e.Bytes
	}
	seen := r.seen[slot]
	seen = append(seen[:0], e.after(seen)...)
	r.seen[slot] = seen
	return int64(len(seen)), len(seen) > 0 && e.goesOn(&r.matches[slot], seen, len(seen))
}

// forget drops what has come: the answer is complete, or nobody waits for it any more.
func (r *replies) forget(slot int32) {
	if r.seen != nil {
		r.seen[slot] = r.seen[slot][:0]
	}
	r.ear.forget(slot)
}

// content checks the bytes of responses against the pattern that the server was asked for. The
// zero value checks nothing.
type content struct {
	places  []uint64 // by slot: bytes of its connection that have come; nil if nothing is checked
	checked uint64   // bytes of measured connections that were right
}

// begin notes that the slot has a new connection.
func (c *content) begin(slot int32) {
	if c.places != nil {
		c.places[slot] = 0
	}
}

// is tells whether the next bytes of a connection are those that belong there. A byte that is
// missing, comes twice or at another place makes all that follow wrong.
func (c *content) is(slot int32, chunk []byte, measured bool) bool {
	if c.places == nil {
		return true
	}
	for rest := chunk; len(rest) > 0; {
		want := wire.Pattern(c.places[slot], uint64(len(rest)))
		if !bytes.Equal(rest[:len(want)], want) {
			return false
		}
		c.places[slot] += uint64(len(want))
		rest = rest[len(want):]
	}
	if measured {
		c.checked += uint64(len(chunk))
	}
	return true
}
