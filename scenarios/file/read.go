package file

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"tcpbench/internal/values"
	"tcpbench/scenarios/expect"
	"tcpbench/scenarios/workload"
)

// A reader takes the value of a key.
type reader func(node) error

// A field is a key and its reader.
type field struct {
	key  string
	read reader
}

// read reads the fields that are there, in this order, and refuses other keys.
func (m mapping) read(fields ...field) error {
	var known []string
	for _, f := range fields {
		known = append(known, f.key)
	}
	for _, key := range m.keys {
		if slices.Contains(known, key) {
			continue
		}
		if near := values.Nearest(key, known); near != "" {
			return m.errorAtKey(key, "unknown key %q: did you mean %s?", key, near)
		}
		return m.errorAtKey(key, "unknown key %q: there are %s", key, strings.Join(known, ", "))
	}
	return m.take(fields...)
}

// take reads the fields that are there, and leaves other keys alone.
func (m mapping) take(fields ...field) error {
	for _, f := range fields {
		if n, ok := m.values[f.key]; ok {
			if err := f.read(n); err != nil {
				return err
			}
		}
	}
	return nil
}

// scalar reads a text; an error of parse says what is wrong with it.
func scalar(parse func(text string) error) reader {
	return func(n node) error {
		text, err := n.text()
		if err != nil {
			return err
		}
		if err := parse(text); err != nil {
			return n.errorf("%w", err)
		}
		return nil
	}
}

// text reads a text as it stands, without the space around it.
func text(to *string) reader {
	return scalar(func(text string) error { *to = strings.TrimSpace(text); return nil })
}

// line reads a text as one line.
func line(to *string) reader {
	return scalar(func(text string) error { *to = strings.Join(strings.Fields(text), " "); return nil })
}

// list reads each item.
func list(item reader) reader {
	return func(n node) error {
		sequence, ok := n.value.(*ast.SequenceNode)
		if !ok {
			return n.errorf("%s: want a list, as in - …", n.what())
		}
		for _, v := range sequence.Values {
			if err := item(n.of(v)); err != nil {
				return err
			}
		}
		return nil
	}
}

// lines reads a list of texts of one line.
func lines(to *[]string) reader {
	return func(n node) error {
		*to = nil
		return list(func(item node) error {
			*to = append(*to, "")
			return line(&(*to)[len(*to)-1])(item)
		})(n)
	}
}

// entries reads the value of each key of a mapping; wanted tells what stands there.
func entries(wanted string, entry func(key string) reader) reader {
	return func(n node) error {
		m, err := n.mapping(wanted)
		if err != nil {
			return err
		}
		for _, key := range m.keys {
			if err := entry(key)(m.values[key]); err != nil {
				return err
			}
		}
		return nil
	}
}

// span reads a time of more than zero; wanted tells which.
func span(to *time.Duration, wanted string) reader {
	return scalar(func(text string) (err error) {
		if *to, err = time.ParseDuration(text); err != nil || *to <= 0 {
			return fmt.Errorf("%q: want %s", text, wanted)
		}
		return nil
	})
}

// yes reads the only value of a key that may be left out.
func yes(to *bool) reader {
	return scalar(func(text string) error {
		if *to = text == "true"; !*to {
			return fmt.Errorf("%q: want true, or leave it out", text)
		}
		return nil
	})
}

// expression reads an expression, in which names of phases may stand.
func expression(n node, phases []string) (*expect.Expression, error) {
	text, err := n.text()
	if err != nil {
		return nil, err
	}
	e, err := expect.Parse(text, phases...)
	var wrong expect.Error
	if errors.As(err, &wrong) {
		if n.plain() { // else quotes and escapes stand between
			n.at.column += wrong.Column - 1
		}
		return nil, n.errorf("%s", wrong)
	}
	return e, err
}

// flags reads a mapping of flags.
func flags(to *[]workload.Setting) reader {
	return func(n node) error {
		m, err := n.mapping("flags by name, as in rate: 1k")
		if err == nil {
			*to, err = m.settings()
		}
		return err
	}
}

// settings reads the mapping as flags, besides keys that are something else. A list of values is
// written with commas, as flags have it.
func (m mapping) settings(besides ...string) ([]workload.Setting, error) {
	known := append(workload.Names(), besides...)
	var all []workload.Setting
	for _, key := range m.keys {
		if slices.Contains(besides, key) {
			continue
		}
		if err := m.known(key, known); err != nil {
			return nil, err
		}
		n := m.values[key]
		value, err := n.flag(key)
		if err != nil {
			return nil, err
		}
		all = append(all, workload.Setting{Name: key, Value: value, At: n.place()})
	}
	return all, nil
}

// flag reads the value of a flag.
func (n node) flag(name string) (string, error) {
	if _, several := n.value.(*ast.SequenceNode); !several {
		return n.text()
	}
	if name == "payload" { // in which a comma is a comma
		return "", n.errorf("one text: several requests have \\| between them, or stand in the lines of a payload-file, with payload-lines: true")
	}
	var words []string
	err := list(func(item node) error {
		word, err := item.text()
		words = append(words, word)
		return err
	})(n)
	return strings.Join(words, ","), err
}

// presented are flags that decide what is shown, which a file does not.
var presented = []string{"expect", "explain", "format", "json", "out", "pcap", "quiet", "realistic", "where"}

// known refuses a key that is no flag.
func (m mapping) known(key string, known []string) error {
	switch {
	case slices.Contains(known, key):
		return nil
	case slices.Contains(presented, key):
		return m.errorAtKey(key, "%s is for the command line: a scenario says what is run, and not what is shown of it", key)
	case strings.HasPrefix(key, "-"):
		return m.errorAtKey(key, "flags stand here without their dashes: %s", strings.TrimLeft(key, "-"))
	}
	if near := values.Nearest(strings.ReplaceAll(key, "_", "-"), known); near != "" {
		return m.errorAtKey(key, "unknown flag %q: did you mean %s?", key, near)
	}
	return m.errorAtKey(key, "unknown flag %q: tcpbench run short --help lists them", key)
}
