package sockets

import (
	"bytes"
	"regexp"
	"regexp/syntax"
	"slices"
	"unicode/utf8"

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

// pattern finds out whether a regular expression matches a text that comes in pieces, and looks
// at each byte once: package regexp would begin anew with every piece, which is quadratic work
// for an answer that comes byte by byte. It simulates the program of regexp/syntax (Pike's VM
// without captures). One pattern serves all connections of a loop; what it knows about a text is
// in a matchState.
type pattern struct {
	prog  *syntax.Prog
	stack []uint32
	next  []uint32 // instructions that wait for the next rune
	// visited has, by instruction, the step that has seen it last.
	visited []uint64
	steps   uint64
	probe   matchState
}

// matchState is the state of one text.
type matchState struct {
	waiting []uint32 // instructions that the runes so far have led to
	last    rune     // before the next one; endOfText if there was none
	held    []byte   // of a rune that is not whole
}

// endOfText stands for the beginning and the end of a text, as in syntax.EmptyOpContext.
const endOfText = rune(-1)

func newPattern(tree *syntax.Regexp) (*pattern, error) {
	prog, err := syntax.Compile(tree)
	if err != nil {
		return nil, err
	}
	return &pattern{prog: prog, visited: make([]uint64, len(prog.Inst))}, nil
}

// begin forgets the text so far.
func (m *matchState) begin() {
	m.waiting, m.last, m.held = m.waiting[:0], endOfText, m.held[:0]
}

// next takes the next whole rune of the text: of what is held, and then of what is fresh.
func (m *matchState) next(fresh []byte) (r rune, rest []byte, ok bool) {
	if len(m.held) == 0 && utf8.FullRune(fresh) {
		r, size := utf8.DecodeRune(fresh)
		return r, fresh[size:], true
	}
	for ; !utf8.FullRune(m.held); fresh = fresh[1:] {
		if len(fresh) == 0 {
			return 0, nil, false
		}
		m.held = append(m.held, fresh[0])
	}
	r, size := utf8.DecodeRune(m.held)
	m.held = slices.Delete(m.held, 0, size)
	return r, fresh, true
}

// feed tells whether the text matches with the bytes that have come. After a match the state is
// of no more use.
func (p *pattern) feed(m *matchState, fresh []byte) bool {
	for {
		r, rest, ok := m.next(fresh)
		if !ok {
			break
		}
		fresh = rest
		if p.step(m, r) {
			return true
		}
	}
	// Whether the text matches if it ends here: a rune that is not whole is then none.
	p.probe.waiting, p.probe.last = append(p.probe.waiting[:0], m.waiting...), m.last
	for range m.held {
		if p.step(&p.probe, utf8.RuneError) {
			return true
		}
	}
	return p.step(&p.probe, endOfText)
}

// step takes a text one rune on, and tells whether it matches up to there. A match may begin at
// every rune.
func (p *pattern) step(m *matchState, r rune) bool {
	p.steps++
	p.stack = append(append(p.stack[:0], m.waiting...), uint32(p.prog.Start))
	p.next = p.next[:0]
	context := syntax.EmptyOpContext(m.last, r)
	for len(p.stack) > 0 {
		at := p.stack[len(p.stack)-1]
		p.stack = p.stack[:len(p.stack)-1]
		if p.visited[at] == p.steps {
			continue
		}
		p.visited[at] = p.steps
		switch i := &p.prog.Inst[at]; i.Op {
		case syntax.InstMatch:
			return true
		case syntax.InstFail:
		case syntax.InstAlt, syntax.InstAltMatch:
			p.stack = append(p.stack, i.Out, i.Arg)
		case syntax.InstCapture, syntax.InstNop:
			p.stack = append(p.stack, i.Out)
		case syntax.InstEmptyWidth:
			if syntax.EmptyOp(i.Arg)&^context == 0 {
				p.stack = append(p.stack, i.Out)
			}
		default:
			if r != endOfText && i.MatchRune(r) {
				p.next = append(p.next, i.Out)
			}
		}
	}
	m.waiting, m.last = append(m.waiting[:0], p.next...), r
	return false
}
