package sockets

import (
	"regexp/syntax"
	"slices"
	"unicode/utf8"
)

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
