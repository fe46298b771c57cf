package report

import (
	"io"
	"regexp"
	"strings"

	"tcpbench/metrics"
)

// markdown is what a terminal cannot show of a quantity's meaning: links and code.
var markdown = regexp.MustCompile("\\[([^]]*)\\]\\([^)]*\\)|`([^`]*)`")

// Quantities lists what expectations and comparisons can name.
func Quantities(w io.Writer, all []metrics.Quantity, style Style) error {
	const nameColumn, unitColumn, betterColumn = 26, 7, 8
	p := style.page()
	p.line(p.paint(label, pad("name", nameColumn)+pad("unit", unitColumn)+pad("better", betterColumn)+"meaning"))
	for _, q := range all {
		unit := q.Unit
		if unit == metrics.Nanoseconds {
			unit = "time"
		}
		name := pad(q.Name, nameColumn)
		if columns(q.Name) >= nameColumn {
			p.line(q.Name)
			name = strings.Repeat(" ", nameColumn)
		}
		meaning := markdown.ReplaceAllString(q.Meaning, "$1$2")
		p.hang(name+pad(unit, unitColumn)+pad(string(q.Better), betterColumn), plain, words(meaning), plain)
	}
	return p.flush(w)
}
