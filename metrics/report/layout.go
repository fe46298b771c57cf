package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// ink is an ANSI code, named by what the text means.
type ink string

const (
	plain   ink = ""
	label   ink = "\x1b[2m"    // dim: what stands beside or above the numbers
	failure ink = "\x1b[31m"   // red
	warning ink = "\x1b[33m"   // yellow
	alarm   ink = "\x1b[1;31m" // bold red: the run is invalid
	success ink = "\x1b[32m"   // green
	reset       = "\x1b[0m"
)

// page collects lines of at most width columns. A column is a rune.
type page struct {
	strings.Builder
	width int
	color bool
}

func (p *page) paint(i ink, s string) string {
	if !p.color || i == plain || s == "" {
		return s
	}
	return string(i) + s + reset
}

func (p *page) line(s string) { p.WriteString(strings.TrimRight(s, " ") + "\n") }

// rule is a line across the page with a title.
func (p *page) rule(title string) {
	head := "── " + title + " "
	p.line(p.paint(label, head+strings.Repeat("─", max(0, p.width-columns(head)))))
}

// entry writes a label of eight columns and the words beside it.
func (p *page) entry(name string, i ink, words []string) { p.hang(pad(name, 8), i, words, plain) }

// words are those of a text of a document.
func words(text string) []string { return strings.Fields(clean(text)) }

func wordsf(format string, args ...any) []string { return words(fmt.Sprintf(format, args...)) }

// sentence is a name and what there is to say about it.
func sentence(name, text string) []string {
	if strings.TrimSpace(text) != "" {
		name += ":"
	}
	return words(name + " " + text)
}

// hang writes a head, and words after it; further lines are indented by the head's width.
func (p *page) hang(head string, headInk ink, words []string, i ink) {
	width := columns(head)
	for _, text := range wrap(words, p.width-width) {
		if headInk == i {
			p.line(p.paint(i, head+text))
		} else {
			p.line(p.paint(headInk, head) + p.paint(i, text))
		}
		head, headInk = strings.Repeat(" ", width), i
	}
}

// wrap joins words to lines of at most width runes, and breaks a word that is longer. There is always
// at least one line.
func wrap(words []string, width int) []string {
	var lines []string
	var line string
	for _, word := range words {
		if line != "" && columns(line)+1+columns(word) <= width {
			line += " " + word
			continue
		}
		if line != "" {
			lines = append(lines, line)
		}
		for columns(word) > width {
			head := string([]rune(word)[:width])
			lines = append(lines, head)
			word = word[len(head):]
		}
		line = word
	}
	if line != "" || lines == nil {
		lines = append(lines, line)
	}
	return lines
}

// listed makes words of items with a separator between. An item stays on one line if it is not long.
func listed(items []string, separator string) []string {
	const whole = 40 // a longer item wraps like prose
	var all []string
	for n, item := range items {
		if n < len(items)-1 {
			item += separator
		}
		if columns(item) <= whole {
			all = append(all, item)
		} else {
			all = append(all, strings.Fields(item)...)
		}
	}
	return all
}

// table has a heading and rows of the same number of cells. The first column is aligned to the left and
// indented below its heading, the others to the right.
type table [][]string

// lines draws the table. It returns false if the table is too wide and its first column may not be cut.
func (t table) lines(width, gap int, cut bool) (lines []string, ok bool) {
	widths := make([]int, len(t[0]))
	total := 0
	for c := range widths {
		for n, row := range t {
			w := columns(row[c])
			if c == 0 && n > 0 {
				w += 2
			}
			widths[c] = max(widths[c], w)
		}
		total += widths[c]
		if c > 0 {
			total += gap
		}
	}
	if total > width {
		if !cut {
			return nil, false
		}
		widths[0] -= total - width
	}
	for n, row := range t {
		first := row[0]
		if n > 0 {
			first = "  " + first
		}
		text := pad(clip(first, widths[0]), widths[0])
		for c, cell := range row[1:] {
			text += strings.Repeat(" ", max(0, gap+widths[c+1]-columns(cell))) + cell
		}
		lines = append(lines, strings.TrimRight(text, " "))
	}
	return lines, true
}

// table draws t below a dim heading. If it is too wide, the gaps become narrow, then its first column
// is cut, and at last its lines.
func (p *page) table(t table) {
	lines, ok := t.lines(p.width, 2, false)
	if !ok {
		lines, _ = t.lines(p.width, 1, true)
	}
	p.line(p.paint(label, clip(lines[0], p.width)))
	for _, text := range lines[1:] {
		p.line(clip(text, p.width))
	}
}

func (t table) fits(width int) bool {
	_, ok := t.lines(width, 2, false)
	return ok
}

func columns(s string) int { return utf8.RuneCountInString(s) }

func pad(s string, width int) string {
	return s + strings.Repeat(" ", max(0, width-columns(s)))
}

func padLeft(s string, width int) string {
	return strings.Repeat(" ", max(0, width-columns(s))) + s
}

// clip cuts s to width runes, the last of which is an ellipsis then.
func clip(s string, width int) string {
	if columns(s) <= width {
		return s
	}
	if width < 1 {
		return ""
	}
	return string([]rune(s)[:width-1]) + "…"
}

// Columns writes rows of cells in columns, aligned to the left with a gap between.
func Columns(w io.Writer, gap int, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, gap, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(t, strings.Join(row, "\t")) // an error comes back from Flush
	}
	return t.Flush()
}

// Indent writes a head and a text after it in 80 columns; further lines are indented by the head's
// width.
func Indent(head, text string) string {
	width := columns(head)
	return head + strings.Join(wrap(strings.Fields(text), usualWidth-width), "\n"+strings.Repeat(" ", width))
}
