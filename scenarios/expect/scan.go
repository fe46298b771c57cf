package expect

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	flaggedFunction = "flagged"
	foundFunction   = "found"
	variablePrefix  = "variable_"
	constantPrefix  = "duration_"
)

func variableName(i int) string { return variablePrefix + strconv.Itoa(i) }

// word is what the scanner replaces: a quoted text, a number with its unit, or a name with its dots.
var word = regexp.MustCompile("\"(?:[^\"\\\\]|\\\\.)*\"|'(?:[^'\\\\]|\\\\.)*'|`[^`]*`" +
	`|[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?[\pL]*|[\pL_][\pL\pN_]*(?:\.[\pL\pN_]+)*`)

// keywords are the names of the language itself.
var keywords = []string{"and", "or", "not", "true", "false", "min", "max", "abs", flaggedFunction, foundFunction}

// scanner rewrites an expression for package expr: each quantity and each duration gets an identifier.
type scanner struct {
	expression *Expression
	names      map[string]string // what stands for each name or duration
	phases     []string          // whose names a variable's may begin with
	out        strings.Builder
	// moves are the places where the rewritten text shifts against the original.
	moves []move
}

type move struct{ written, original int } // columns, from 0

func (s *scanner) scan(text string) error {
	last := 0
	for _, at := range word.FindAllStringIndex(text, -1) {
		s.out.WriteString(text[last:at[0]])
		last = at[1]
		found := text[at[0]:at[1]]
		replacement, err := s.replace(found)
		if err != nil {
			return Error{1 + utf8.RuneCountInString(text[:at[0]]), err.Error()}
		}
		s.note(text[:at[0]])
		s.out.WriteString(replacement)
		s.note(text[:at[1]])
	}
	s.out.WriteString(text[last:])
	return nil
}

func (s *scanner) note(original string) {
	s.moves = append(s.moves, move{utf8.RuneCountInString(s.out.String()), utf8.RuneCountInString(original)})
}

// original is the column, from 1, of a column from 0 in the rewritten text.
func (s *scanner) original(column int) int {
	shift := 0
	for _, m := range s.moves {
		if m.written > column {
			break
		}
		shift = m.original - m.written
	}
	return max(1, column+shift+1)
}

// readable puts the original names back into a message about the rewritten text.
func (s *scanner) readable(message string) string {
	for name, written := range s.names {
		message = regexp.MustCompile(`\b`+written+`\b`).ReplaceAllLiteralString(message, name)
	}
	message, _, _ = strings.Cut(message, "\n")
	return message
}

func (s *scanner) replace(found string) (string, error) {
	switch first := found[0]; {
	case first == '"' || first == '\'' || first == '`':
		return found, nil
	case first >= '0' && first <= '9':
		return s.number(found)
	}
	if slices.Contains(keywords, found) {
		return found, nil
	}
	if written, ok := s.names[found]; ok {
		return written, nil
	}
	q, err := find(found, s.phases)
	if err != nil {
		return "", err
	}
	e := s.expression
	e.quantities = append(e.quantities, q)
	s.names[found] = variableName(len(e.quantities) - 1)
	return s.names[found], nil
}

// factors are the units of counts.
var factors = map[string]float64{"k": 1e3, "M": 1e6, "G": 1e9}

func (s *scanner) number(found string) (string, error) {
	digits := strings.TrimRightFunc(found, func(r rune) bool { return r < '0' || r > '9' })
	unit := found[len(digits):]
	if unit == "" {
		return found, nil
	}
	if factor, ok := factors[unit]; ok {
		value, err := strconv.ParseFloat(digits, 64)
		if err != nil {
			return "", fmt.Errorf("%q is no number", digits)
		}
		return strconv.FormatFloat(value*factor, 'f', -1, 64), nil
	}
	d, err := time.ParseDuration(found)
	if err != nil {
		return "", fmt.Errorf("unknown unit in %q: want a time in ns, us, ms, s, m, h, or a number with k, M, G", found)
	}
	if written, ok := s.names[found]; ok {
		return written, nil
	}
	name := constantPrefix + strconv.Itoa(len(s.expression.constants))
	s.expression.constants[name] = float64(d)
	s.names[found] = name
	return name, nil
}
