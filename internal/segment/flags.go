package segment

import (
	"fmt"
	"strings"
)

// Flags are those of a TCP segment, in the order of RFC 9293, section 3.1.
type Flags uint8

// The flags by which a segment is told from others.
const (
	FIN Flags = 1 << iota
	SYN
	RST
	PSH
	ACK
)

// looked are the flags that decide: a segment matches that has exactly those of them.
const looked = FIN | SYN | RST | PSH | ACK

var flagNames = []struct {
	name string
	flag Flags
}{{"fin", FIN}, {"syn", SYN}, {"rst", RST}, {"psh", PSH}, {"ack", ACK}}

func (f Flags) String() string {
	var names []string
	for _, n := range flagNames {
		if f&n.flag != 0 {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, "+")
}

// ParseFlags reads names with + between, as in syn+ack.
func ParseFlags(text string) (f Flags, err error) {
	for name := range strings.SplitSeq(text, "+") {
		known := false
		for _, n := range flagNames {
			if n.name == name {
				f |= n.flag
				known = true
			}
		}
		if !known {
			return 0, fmt.Errorf("%q is no flag: want fin, syn, rst, psh, ack, with + between, as in syn+ack", name)
		}
	}
	return f, nil
}
