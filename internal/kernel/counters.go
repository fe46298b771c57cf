package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// Counters is one reading of /proc/net/snmp and /proc/net/netstat in a network namespace. The zero
// value has no counters.
//
// A few are not counters but settings (Tcp RtoMin) or states (Tcp CurrEstab), and MaxConn is -1. A value
// above the range of int64 becomes negative; differences are still right.
type Counters struct {
	layout *layout // shared by readings with the same names
	values []int64 // in the order of the layout
}

// Moved is the differences between two readings by the kernel's group and name:
// moved["Tcp"]["ActiveOpens"], which nstat(8) calls TcpActiveOpens. Counters that did not change are
// missing, and read as zero.
type Moved map[string]map[string]int64

// ReadCounters reads all counters of the calling thread's network namespace. To read often, open a Net.
func ReadCounters() (Counters, error) {
	n, err := OpenNet()
	if err != nil {
		return Counters{}, err
	}
	var c Counters
	err = errors.Join(n.Counters(&c), n.Close())
	return c, err
}

// Value returns a counter by the kernel's group and name: Value("TcpExt", "ListenOverflows"). ok is
// false if this kernel has no such counter.
func (c Counters) Value(group, name string) (value int64, ok bool) {
	if c.layout == nil {
		return 0, false
	}
	i, ok := c.layout.index[counterName{group, name}]
	if !ok {
		return 0, false
	}
	return c.values[i], true
}

// Sub returns the differences to an earlier reading. A counter that was missing then counts from zero:
// the kernel leaves out what has never happened (IcmpMsg) and the counters of modules that are not
// loaded.
func (c Counters) Sub(earlier Counters) Moved {
	moved := Moved{}
	if c.layout == nil {
		return moved
	}
	i := 0
	for _, g := range c.layout.groups {
		for _, name := range g.names {
			var before int64
			if c.layout == earlier.layout {
				before = earlier.values[i]
			} else {
				before, _ = earlier.Value(g.name, name)
			}
			if d := c.values[i] - before; d != 0 {
				if moved[g.name] == nil {
					moved[g.name] = map[string]int64{}
				}
				moved[g.name][name] = d
			}
			i++
		}
	}
	return moved
}

// layout is the place of each counter among the values. It never changes.
type layout struct {
	groups []counterGroup
	index  map[counterName]int
}

// Names lists the counters by their group.
func (c Counters) Names() map[string][]string {
	names := map[string][]string{}
	for _, g := range c.layout.groups {
		names[g.name] = append(names[g.name], g.names...)
	}
	return names
}

type counterGroup struct {
	name   string
	header string // the whole line, to compare it with the next reading's
	names  []string
}

type counterName struct{ group, name string }

// parseSNMP reads the format of /proc/net/snmp and netstat: pairs of a line of names and a line of
// values, which both begin with the group.
//
//	Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens
//	Tcp: 1 200 120000 -1 32
//
// It is strict, because a value with a wrong name is worse than none. It returns known if the lines of
// names are the same, and uses the memory of values.
func parseSNMP(text []byte, known *layout, values []int64) (*layout, []int64, error) {
	if !known.describes(text) {
		var err error
		if known, err = parseLayout(text); err != nil {
			return nil, nil, err
		}
	}
	values = values[:0]
	for i, g := range known.groups {
		_, text, _ = cutLine(text)
		line, rest, _ := cutLine(text)
		text = rest
		fields, ok := bytes.CutPrefix(line, []byte(g.name))
		if !ok || len(fields) == 0 || fields[0] != ':' {
			return nil, nil, fmt.Errorf("line %d: want values of %s, not %q", 2*i+2, g.name, line)
		}
		fields = fields[1:]
		n := 0
		for ; len(fields) > 0; n++ {
			var field []byte
			if field, fields, ok = cutField(fields); !ok {
				return nil, nil, fmt.Errorf("line %d: want fields set off by one space: %q", 2*i+2, line)
			}
			v, ok := parseValue(field)
			if !ok {
				return nil, nil, fmt.Errorf("line %d: %s: want a number, not %q", 2*i+2, g.name, field)
			}
			values = append(values, v)
		}
		if n != len(g.names) {
			return nil, nil, fmt.Errorf("line %d: %s has %d names and %d values", 2*i+2, g.name, len(g.names), n)
		}
	}
	return known, values, nil
}

// describes tells whether text has the lines of names of this layout, each with a line of values.
func (l *layout) describes(text []byte) bool {
	if l == nil {
		return false
	}
	for _, g := range l.groups {
		header, rest, ok := cutLine(text)
		if !ok || string(header) != g.header {
			return false
		}
		if _, text, ok = cutLine(rest); !ok {
			return false
		}
	}
	return len(text) == 0
}

func parseLayout(text []byte) (*layout, error) {
	l := &layout{index: map[counterName]int{}}
	for line := 1; len(text) > 0; line += 2 {
		header, rest, ok := cutLine(text)
		if !ok {
			return nil, fmt.Errorf("line %d: ends within", line)
		}
		if _, text, ok = cutLine(rest); !ok {
			return nil, fmt.Errorf("line %d: no whole line of values after %q", line, header)
		}
		name, fields, ok := bytes.Cut(header, []byte{':'})
		if !ok || len(name) == 0 {
			return nil, fmt.Errorf("line %d: want a group and a colon: %q", line, header)
		}
		g := counterGroup{name: string(name), header: string(header)}
		for len(fields) > 0 {
			var field []byte
			if field, fields, ok = cutField(fields); !ok {
				return nil, fmt.Errorf("line %d: want fields set off by one space: %q", line, header)
			}
			key := counterName{g.name, string(field)}
			if _, twice := l.index[key]; twice {
				return nil, fmt.Errorf("line %d: %s %s a second time", line, key.group, key.name)
			}
			l.index[key] = len(l.index)
			g.names = append(g.names, key.name)
		}
		l.groups = append(l.groups, g)
	}
	if len(l.index) == 0 {
		return nil, errors.New("no counters")
	}
	return l, nil
}

// cutLine splits off a line that ends with a newline.
func cutLine(text []byte) (line, rest []byte, ok bool) {
	return bytes.Cut(text, []byte{'\n'})
}

// cutField splits off a field and the one space before it.
func cutField(fields []byte) (field, rest []byte, ok bool) {
	if len(fields) == 0 || fields[0] != ' ' {
		return nil, nil, false
	}
	fields = fields[1:]
	end := bytes.IndexByte(fields, ' ')
	if end < 0 {
		end = len(fields)
	}
	return fields[:end], fields[end:], end > 0
}

// parseValue reads a signed or unsigned decimal number of 64 bits. A sum over processors that is -1 for
// a moment may be printed as 2^64-1: it wraps.
func parseValue(field []byte) (int64, bool) {
	if len(field) > 0 && field[0] == '-' {
		v, err := strconv.ParseInt(string(field), 10, 64)
		return v, err == nil
	}
	v, err := strconv.ParseUint(string(field), 10, 64)
	return int64(v), err == nil
}
