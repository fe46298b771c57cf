package segment

import (
	"fmt"
	"slices"
	"strings"
)

// Flags are flags of a TCP header, with the bits of RFC 9293, section 3.1.
type Flags uint8

// The flags that Parse keeps.
const (
	FIN Flags = 1 << iota
	SYN
	RST
	PSH
	ACK
	kept = FIN | SYN | RST | PSH | ACK
)

// flagNames are in the order of the bits.
var flagNames = []string{"fin", "syn", "rst", "psh", "ack"}

// String writes flags as ParseFlags reads them.
func (f Flags) String() string {
	var names []string
	for bit, name := range flagNames {
		if f>>bit&1 != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "+")
}

// ParseFlags reads names with + between them, as in syn+ack.
func ParseFlags(text string) (f Flags, err error) {
	for name := range strings.SplitSeq(text, "+") {
		bit := slices.Index(flagNames, name)
		if bit < 0 {
			return 0, fmt.Errorf("%q is no flag: want fin, syn, rst, psh or ack, or several with +, as in syn+ack", name)
		}
		f |= 1 << bit
	}
	return f, nil
}
