package loadgen

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"tcpbench/internal/random"
)

// ParsePayload reads text with the escapes of a Go string: \r \n \t \\ \xNN and the rest.
func ParsePayload(text string) ([]byte, error) {
	var out []byte
	for rest := text; rest != ""; {
		// Whatever needs no escape in a shell stands for itself, also quotes and bytes
		// that are no UTF-8.
		if rest[0] != '\\' {
			out = append(out, rest[0])
			rest = rest[1:]
			continue
		}
		value, multibyte, tail, err := strconv.UnquoteChar(rest, 0)
		if err != nil {
			return nil, fmt.Errorf(`byte %d: unknown escape in %q: want \r \n \t \\ or \xNN`,
				len(text)-len(rest)+1, rest[:min(len(rest), 4)])
		}
		if multibyte {
			out = append(out, string(value)...)
		} else {
			out = append(out, byte(value))
		}
		rest = tail
	}
	return out, nil
}

// Template is a request with fields that are filled in each time that it is sent. Fields have a
// fixed width, so the request always has the same length.
type Template struct {
	Text   []byte  `json:"text"` // with zeros in place of the fields
	Fields []Field `json:"fields,omitempty"`
}

// Field is a part of a Template.
type Field struct {
	Kind  FieldKind `json:"kind"`
	At    int       `json:"at"`    // in the text
	Width int       `json:"width"` // in bytes
}

// FieldKind says what a field is filled with.
type FieldKind string

// The kinds of fields. Random ones follow from the seed, the number of the request and the place
// of the field.
const (
	Counter   FieldKind = "n"    // the number of the request in decimal, from 0, modulo 10^width
	RandomDec FieldKind = "rand" // decimal digits
	RandomHex FieldKind = "hex"  // hexadecimal digits
)

// usualWidth is the width of a field that does not say one.
const usualWidth = 8

// widest are the largest widths: one 64-bit number fills a field.
var widest = map[FieldKind]int{Counter: 18, RandomDec: 18, RandomHex: 16}

// ParseTemplate reads a payload, with the escapes of ParsePayload, in which {{n}}, {{rand}}
// and {{hex}} are fields of 8 bytes and {{n:4}} is one of 4.
func ParseTemplate(text string) (Template, error) {
	var t Template
	for rest := text; ; {
		literal, field, found := strings.Cut(rest, "{{")
		payload, err := ParsePayload(literal)
		if err != nil {
			return Template{}, err
		}
		t.Text = append(t.Text, payload...)
		if !found {
			return t, nil
		}
		var whole bool
		if field, rest, whole = strings.Cut(field, "}}"); !whole {
			return Template{}, fmt.Errorf("{{%s has no }}: %w", clipped(field), errField)
		}
		f, err := parseField(field)
		if err != nil {
			return Template{}, fmt.Errorf("{{%s}}: %w", clipped(field), err)
		}
		f.At = len(t.Text)
		t.Text = append(t.Text, make([]byte, f.Width)...)
		t.Fields = append(t.Fields, f)
	}
}

var errField = errors.New(`want {{n:8}}, {{rand:8}} or {{hex:16}}; write \x7b{ for two braces that are no field`)

func clipped(text string) string { return text[:min(len(text), 16)] }

func parseField(text string) (Field, error) {
	kind, width, named := strings.Cut(text, ":")
	f := Field{Kind: FieldKind(kind), Width: usualWidth}
	most := widest[f.Kind]
	if most == 0 {
		return f, errField
	}
	if !named {
		return f, nil
	}
	n, err := strconv.Atoi(width)
	if err != nil || n < 1 || n > most {
		return f, fmt.Errorf("want a width of 1 to %d", most)
	}
	f.Width = n
	return f, nil
}

// ParseLines reads one template from each line of a file, without its \n or \r\n. Empty lines are
// left out.
func ParseLines(content string) ([]Template, error) {
	var all []Template
	number := 0
	for line := range strings.Lines(content) {
		number++
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if line == "" {
			continue
		}
		t, err := ParseTemplate(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		all = append(all, t)
	}
	if len(all) == 0 {
		return nil, errors.New("no line has a request")
	}
	return all, nil
}

// Fill writes the fields of request n into b, which has the template's text.
func (t *Template) Fill(b []byte, seed, n uint64) {
	for i := range t.Fields {
		f := &t.Fields[i]
		field := b[f.At : f.At+f.Width]
		value := n
		if f.Kind != Counter {
			value = random.Mixed(random.Mixed(seed+n) + uint64(i))
		}
		if f.Kind == RandomHex {
			for j := range field {
				field[j] = "0123456789abcdef"[value&15]
				value >>= 4
			}
			continue
		}
		for j := len(field) - 1; j >= 0; j-- {
			field[j] = byte('0' + value%10)
			value /= 10
		}
	}
}

func (t *Template) validate() error {
	if len(t.Text) == 0 {
		return errors.New("a request in rotation has no byte")
	}
	end := 0
	for _, f := range t.Fields {
		if f.At < end || f.Width < 1 || f.Width > widest[f.Kind] || f.Width > len(t.Text)-f.At {
			return fmt.Errorf("a field %q of %d bytes at %d does not fit its request of %d bytes", f.Kind, f.Width, f.At, len(t.Text))
		}
		end = f.At + f.Width
	}
	return nil
}
