package compare

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// unitNames are the units of Go's benchmark format, which benchstat knows.
var unitNames = map[string]string{"ns": "ns", "1/s": "conn/s", "us": "µs/conn", PerConnection: "count/conn"}

// Bench writes every result of every side as a line of Go's benchmark format, for
// benchstat: benchstat -col /side FILE.
func Bench(w io.Writer, sides []Side) error {
	var b strings.Builder
	b.WriteString("Unit conn/s better=higher\n")
	all := metricsOf(sides)
	for _, s := range sides {
		for _, r := range s.Results {
			fmt.Fprintf(&b, "Benchmark%s/side=%s 1", capital(word(r.Scenario.Name)), word(s.Name))
			for _, m := range all {
				if v, ok := m.of(r); ok {
					fmt.Fprintf(&b, " %g %s", v, m.benchUnit())
				}
			}
			b.WriteByte('\n')
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// capital begins a name with a capital letter, as the format wants it.
func capital(name string) string {
	r, size := utf8.DecodeRuneInString(name)
	return string(unicode.ToUpper(r)) + name[size:]
}

// benchUnit names a metric as a unit: benchstat makes a table of each.
func (m metric) benchUnit() string {
	side, each, ofHeld := strings.Cut(m.name, "/")
	switch {
	case m.name == "rate":
		return unitNames[m.unit]
	case m.unit == "1/s":
		return word(m.name) + "/s"
	case m.unit == "us" && ofHeld:
		return word(side) + "-µs-per-" + each
	}
	return word(m.name) + "-" + strings.ReplaceAll(unitNames[m.unit], "/", "-per-")
}

// word makes one word of a name: a space ends it in that format.
func word(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || r == '/' || !unicode.IsPrint(r) {
			return '_'
		}
		return r
	}, name)
}
