package loadgen

import (
	"bytes"
	"regexp"
	"regexp/syntax"

	"tcpbench/metrics"
)

// ending tells where an answer ends.
type ending struct {
	Until
	// literal is what the pattern matches if that is one text. Then only what is new has to
	// be looked at; any other pattern looks at all of the answer with each piece of it.
	literal []byte
	pattern *regexp.Regexp
}

func newEnding(u Until) ending {
	e := ending{Until: u}
	if u.Kind != Match {
		return e
	}
	e.pattern = regexp.MustCompile(u.Pattern) // compiled once by validate
	if tree, err := syntax.Parse(u.Pattern, syntax.Perl); err == nil {
		if tree = tree.Simplify(); tree.Op == syntax.OpLiteral && tree.Flags&syntax.FoldCase == 0 {
			e.literal = []byte(string(tree.Rune))
		}
	}
	return e
}

// matches tells whether the pattern is in seen, whose last bytes, so many, are new.
func (e *ending) matches(seen []byte, fresh int) bool {
	if len(e.literal) > 0 {
		return bytes.Contains(seen[max(0, len(seen)-fresh-len(e.literal)+1):], e.literal)
	}
	return e.pattern.Match(seen)
}

// after returns what follows the first match. It allocates, and is for answers that come
// together because one of them was late.
func (e *ending) after(seen []byte) []byte {
	if len(e.literal) > 0 {
		return seen[bytes.Index(seen, e.literal)+len(e.literal):]
	}
	return seen[e.pattern.FindIndex(seen)[1]:]
}

// reached tells whether an answer of any server's is whole with the bytes just read. One
// that comes in a single piece is matched where it was read, and takes no memory.
func (l *loop) reached(slot int32, e *ending, chunk []byte) (bool, metrics.Outcome) {
	c := &l.conns[slot]
	if e.Kind == AtLeast {
		return c.received >= e.Bytes, metrics.Succeeded
	}
	// What follows the answer matters only where another one is due.
	if len(l.seen[slot]) == 0 && c.pending <= 1 && e.matches(chunk, len(chunk)) {
		return true, metrics.Succeeded
	}
	seen := append(l.seen[slot], chunk...)
	l.seen[slot] = seen
	looked := len(seen) == len(chunk) && c.pending <= 1
	if !looked && e.matches(seen, len(chunk)) {
		return true, metrics.Succeeded
	}
	if len(seen) > MaxMatch {
		return false, metrics.Unexpected
	}
	return false, metrics.Succeeded
}

// another drops the answer that is whole, and tells whether another one is here already.
func (l *loop) another(slot int32, e *ending) bool {
	c := &l.conns[slot]
	if e.Kind == AtLeast {
		c.received -= e.Bytes
		return c.received >= e.Bytes
	}
	seen := l.seen[slot]
	seen = append(seen[:0], e.after(seen)...)
	l.seen[slot] = seen
	c.received = int64(len(seen))
	return len(seen) > 0 && e.matches(seen, len(seen))
}

// clear forgets what has come: the answer is whole, or nobody waits for it any more.
func (l *loop) clear(slot int32) {
	l.conns[slot].received = 0
	if l.seen != nil {
		l.seen[slot] = l.seen[slot][:0]
	}
	l.ear.forget(slot)
}
