package report

import (
	"encoding/json"
	"fmt"
	"io"

	"tcpbench/metrics"
	"tcpbench/metrics/compare"
)

// Format is a way to print documents of a type.
type Format[T any] struct {
	Name  string
	Write func(io.Writer, T, Style) error
	For   string // the program that reads it, for help; may be empty
}

// Formats are all ways to print documents of a type, the default first.
type Formats[T any] []Format[T]

// The formats of documents. A format is added here and nowhere else.
var (
	Results = Formats[*metrics.Result]{
		{Name: "text", Write: Text},
		{Name: "json", Write: func(w io.Writer, r *metrics.Result, _ Style) error { return r.Write(w) }},
	}
	Sums          = Formats[*metrics.Shown]{{Name: "text", Write: Sum}, {Name: "json", Write: JSON[*metrics.Shown]}}
	QuantityLists = Formats[[]metrics.Quantity]{{Name: "text", Write: Quantities}, {Name: "json", Write: JSON[[]metrics.Quantity]}}
	Comparisons   = Formats[[]compare.Side]{
		{Name: "text", Write: func(w io.Writer, sides []compare.Side, style Style) error {
			return Comparison(w, compare.Of(sides), style)
		}},
		{Name: "json", Write: func(w io.Writer, sides []compare.Side, style Style) error { return JSON(w, compare.Of(sides), style) }},
		{Name: "bench", Write: func(w io.Writer, sides []compare.Side, _ Style) error { return compare.Bench(w, sides) }, For: "benchstat"},
	}
)

// Names lists the formats.
func (f Formats[T]) Names() (names []string) {
	for _, one := range f {
		names = append(names, one.Name)
	}
	return names
}

// Help describes the flag --format.
func (f Formats[T]) Help() string {
	text := "what to print on stdout"
	for _, one := range f {
		if one.For != "" {
			text += fmt.Sprintf("; %s is for %s", one.Name, one.For)
		}
	}
	return text
}

// Write writes the document in the format of that name.
func (f Formats[T]) Write(name string, w io.Writer, document T, style Style) error {
	for _, one := range f {
		if one.Name == name {
			return one.Write(w, document, style)
		}
	}
	return fmt.Errorf("no format %q of this document: there are %v", name, f.Names())
}

// JSON writes a document as indented JSON.
func JSON[T any](w io.Writer, document T, _ Style) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(document)
}
