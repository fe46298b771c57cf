package loadgen

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Template is a request with fields that are filled in each time that it is sent. A field
// has a fixed width, so that the request is always as long.
type Template struct {
	Text   []byte  `json:"text"` // zeros stand where a field is
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

// The kinds of fields. Random ones follow from the seed, the number of the request and
// the place of the field.
const (
	Counter   FieldKind = "n"    // the number of the request in decimal, from 0, modulo 10^width
	RandomDec FieldKind = "rand" // decimal digits
	RandomHex FieldKind = "hex"  // hexadecimal digits
)

// usualWidth is the width of a field that names none.
const usualWidth = 8

// widest are the largest widths: a field is filled from one 64-bit number.
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

// ParseLines reads one template from each line of a file. A line ends with \n or \r\n,
// which are no part of it; empty lines are left out.
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
			value = scatter(scatter(seed+n) + uint64(i))
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

// scatter is a step of SplitMix64: neighbours come far apart.
func scatter(x uint64) uint64 {
	x += 0x9E3779B97F4A7C15
	x = (x ^ x>>30) * 0xBF58476D1CE4E5B9
	x = (x ^ x>>27) * 0x94D049BB133111EB
	return x ^ x>>31
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
