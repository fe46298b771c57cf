package compare

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"tcpbench/metrics"
)

// Bench writes every result of every side as a line of Go's benchmark format, for
// benchstat: benchstat -col /side FILE.
func Bench(w io.Writer, sides []Side) error {
	var b strings.Builder
	all := numbersOf(sides)
	for _, n := range all {
		if n.Better != "" {
			fmt.Fprintf(&b, "Unit %s better=%s\n", n.benchUnit(), n.Better)
		}
	}
	for _, s := range sides {
		for _, r := range s.Results {
			fmt.Fprintf(&b, "Benchmark%s/side=%s 1", capital(word(r.Scenario.Name)), word(s.Name))
			for _, n := range all {
				if v, ok := n.of(r); ok {
					fmt.Fprintf(&b, " %g %s", v, n.benchUnit())
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

// benchUnit makes a unit of a number's name, because benchstat draws a table for each unit.
func (n *number) benchUnit() string {
	name, _ := strings.CutSuffix(n.Name, "/conn")
	switch {
	case n.Name == "rate":
		return "conn/s"
	case n.Unit == metrics.PerSecond:
		return word(name) + "/s"
	case n.Unit == PerConnection:
		return word(name) + "/conn"
	}
	return word(name) + "-" + n.Unit
}

// word makes one word of a name, because a space ends it in that format.
func word(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || r == '/' || !unicode.IsPrint(r) {
			return '_'
		}
		return r
	}, name)
}
