package metrics

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// SaidBytes is how much of an answer is kept.
const SaidBytes = 256

// saidShown is how many different answers a result has; the others are counted together.
const saidShown = 16

// Said is what the server answered on a sample of the connections that failed.
type Said struct {
	Texts  []SaidText `json:"texts"`  // the most frequent first
	Others uint64     `json:"others"` // answers of the sample that Texts leaves out
}

// SaidText is one answer.
type SaidText struct {
	Failure string `json:"failure"` // how the connections ended: stage.outcome
	Text    string `json:"text"`    // the first SaidBytes, with the escapes of --payload
	Count   uint64 `json:"count"`
}

// Merge adds the sample of another client; either may be nil.
func (s *Said) Merge(other *Said) *Said {
	if s == nil || other == nil {
		if s == nil {
			return other
		}
		return s
	}
	sum := &Said{Texts: slices.Clone(s.Texts), Others: s.Others + other.Others}
	for _, t := range other.Texts {
		i := slices.IndexFunc(sum.Texts, func(o SaidText) bool { return o.Failure == t.Failure && o.Text == t.Text })
		if i < 0 {
			sum.Texts = append(sum.Texts, t)
		} else {
			sum.Texts[i].Count += t.Count
		}
	}
	slices.SortFunc(sum.Texts, func(a, b SaidText) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Failure, b.Failure), cmp.Compare(a.Text, b.Text))
	})
	return sum
}

// Shortened is the sample with the texts that a result has room for.
func (s *Said) Shortened() *Said {
	if s == nil {
		return nil
	}
	short := (&Said{}).Merge(s)
	if len(short.Texts) > saidShown {
		for _, t := range short.Texts[saidShown:] {
			short.Others += t.Count
		}
		short.Texts = short.Texts[:saidShown]
	}
	return short
}

// Sampled is the number of answers in the sample.
func (s *Said) Sampled() uint64 {
	n := s.Others
	for _, t := range s.Texts {
		n += t.Count
	}
	return n
}

// Escape makes bytes printable, as --payload takes them: others become \r, \n, \t or \xNN, and a
// backslash is doubled.
func Escape(b []byte) string {
	var out strings.Builder
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		switch {
		case r == '\\':
			out.WriteString(`\\`)
		case r == '\r':
			out.WriteString(`\r`)
		case r == '\n':
			out.WriteString(`\n`)
		case r == '\t':
			out.WriteString(`\t`)
		case r == utf8.RuneError && size == 1 || !unicode.IsPrint(r):
			for _, c := range b[:size] {
				fmt.Fprintf(&out, `\x%02x`, c)
			}
		default:
			out.WriteRune(r)
		}
		b = b[size:]
	}
	return out.String()
}
