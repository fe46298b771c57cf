package wire

import (
	"fmt"
	"slices"
	"strings"
)

var (
	closerNames = []string{Client: "client", Server: "server", Both: "both", Never: "never"}
	howNames    = []string{FIN: "fin", RST: "rst", HalfClose: "half"}
)

func (c Closer) String() string { return name(closerNames, int(c)) }
func (h How) String() string    { return name(howNames, int(h)) }

// CloserNames lists the words that Closer.UnmarshalText accepts.
func CloserNames() []string { return slices.Clone(closerNames) }

// HowNames lists the words that How.UnmarshalText accepts.
func HowNames() []string { return slices.Clone(howNames) }

// MarshalText writes the name used in flags, scenario files and results.
func (c Closer) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// MarshalText writes the name used in flags, scenario files and results.
func (h How) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText accepts the names that String returns.
func (c *Closer) UnmarshalText(text []byte) error {
	i, err := index(closerNames, string(text))
	*c = Closer(i)
	return err
}

// UnmarshalText accepts the names that String returns.
func (h *How) UnmarshalText(text []byte) error {
	i, err := index(howNames, string(text))
	*h = How(i)
	return err
}

func name(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("unknown(%d)", i)
}

func index(names []string, word string) (int, error) {
	if i := slices.Index(names, word); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("%q is none of %s", word, strings.Join(names, ", "))
}
