// Package values makes command-line flags of types with a parser. They refuse a bad value with the flag's
// name and a correct value. Scenario files set the same flags, by the same rules.
package values

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// value is a flag of a type with a parser.
type value[T any] struct {
	to    *T
	text  string
	kind  string
	parse func(string) (T, error)
	guess func(string) string // suggests a value for a refused text; nil for the usual guesses
}

// New returns a flag for *to. It shows text until it is set.
func New[T any](to *T, text, kind string, parse func(string) (T, error)) pflag.Value {
	return &value[T]{to: to, text: text, kind: kind, parse: parse}
}

func (v *value[T]) String() string { return v.text }
func (v *value[T]) Type() string   { return v.kind }

func (v *value[T]) Set(text string) error {
	parsed, err := v.parse(text)
	if err != nil {
		meant := v.meant(text)
		if _, wrong := v.parse(meant); wrong != nil {
			meant = ""
		}
		return fmt.Errorf("%w%s", err, asked(meant))
	}
	*v.to, v.text = parsed, text
	return nil
}

func (v *value[T]) off() bool { return reflect.ValueOf(v.to).Elem().IsZero() }

// Off tells whether a flag of this package has the value zero or false.
func Off(v pflag.Value) bool {
	zero, ok := v.(interface{ off() bool })
	return ok && zero.off()
}

// Text returns a flag of any text that is not empty: an empty one usually comes from a shell variable that
// is not set.
func Text(to *string, kind string) pflag.Value {
	return New(to, *to, kind, func(text string) (string, error) {
		if text == "" {
			return "", errors.New("want a value, or leave it out")
		}
		return text, nil
	})
}

// toggle is a flag that is on or off.
type toggle bool

// Switch returns a flag that is on or off.
func Switch(to *bool) pflag.Value { return (*toggle)(to) }

func (t *toggle) String() string { return strconv.FormatBool(bool(*t)) }
func (t *toggle) Type() string   { return "bool" }
func (t *toggle) off() bool      { return !bool(*t) }

func (t *toggle) Set(text string) error {
	on, err := strconv.ParseBool(text)
	if err != nil {
		return errors.New("want true or false, or no value at all")
	}
	*t = toggle(on)
	return nil
}

// Wanted adds to an error of a switch what it takes: the errors of package strconv do not say it.
func Wanted(err error) error {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) || invalid.GetFlag().Value.Type() != "bool" {
		return err
	}
	return fmt.Errorf("invalid argument %q for --%s: want true or false, or no value at all", invalid.GetValue(), invalid.GetFlag().Name)
}

// Words are the words that a flag takes, for completion: close and bytes: of bytes:N|close|REGEXP.
func Words(v pflag.Value) (words []string) {
	choices := strings.Split(v.Type(), "|")
	for _, choice := range choices {
		word, rest, ok := strings.Cut(choice, ":")
		switch {
		case len(choices) == 1 || word == strings.ToUpper(word):
		case ok && rest == strings.ToUpper(rest):
			words = append(words, word+":")
		default:
			words = append(words, choice)
		}
	}
	return words
}

// Word is a flag that takes one of a few words.
func Word[T ~string](to *T, words ...T) pflag.Value {
	names := make([]string, len(words))
	for i, w := range words {
		names[i] = string(w)
	}
	return New(to, string(*to), strings.Join(names, "|"), func(text string) (T, error) {
		if !slices.Contains(names, text) {
			return "", fmt.Errorf("want one of %s", strings.Join(names, ", "))
		}
		return T(text), nil
	})
}

// Named is a flag of a type that reads its own names.
func Named[T any, P interface {
	*T
	encoding.TextUnmarshaler
	String() string
}](to P, names []string) pflag.Value {
	return New((*T)(to), to.String(), strings.Join(names, "|"), func(text string) (T, error) {
		var parsed T
		err := P(&parsed).UnmarshalText([]byte(text))
		return parsed, err
	})
}

// Size reads a number of bytes: 100, 4k, 1M. k and M are powers of 1024.
func Size(text string) (uint32, error) {
	n, ok := scale(text, "kM", MaxMessage)
	if !ok {
		return 0, errors.New("want 0 to 16M bytes, as in 100, 4k or 1M")
	}
	return uint32(n), nil
}

// Amount reads a number of bytes of any size: 100, 4k, 1M, 128G. k, M, G and T are powers
// of 1024.
func Amount(text string) (uint64, error) {
	n, ok := scale(text, "kMGT", math.MaxInt64)
	if !ok || n == 0 {
		return 0, errors.New("want 1 byte or more, as in 64k, 128M or 1G")
	}
	return n, nil
}

// scale reads a number up to most, which may end with one of the units.
func scale(text, units string, most uint64) (n uint64, ok bool) {
	shift := 0
	if last := len(text) - 1; last >= 0 && strings.IndexByte(units, text[last]) >= 0 {
		text, shift = text[:last], 10*(1+strings.IndexByte(units, text[last]))
	}
	n, err := strconv.ParseUint(text, 10, 64)
	return n << shift, err == nil && n <= most>>shift
}

// MaxMessage is the largest payload of one request or response.
const MaxMessage = 16 << 20

// Ports reads ports and ranges: 9000, 9000-9063, 9000,9100.
func Ports(text string) ([]uint16, error) {
	var ports []uint16
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(part, "-")
		first, err := strconv.ParseUint(from, 10, 16)
		last := first
		if err == nil && isRange {
			last, err = strconv.ParseUint(to, 10, 16)
		}
		if err != nil || first == 0 || last < first {
			return nil, fmt.Errorf("%q: want ports or ranges of them from 1 to 65535, as in 9000-9063", part)
		}
		for p := first; p <= last; p++ {
			ports = append(ports, uint16(p))
		}
	}
	if len(ports) > maxPorts {
		return nil, fmt.Errorf("%d ports: want at most %d", len(ports), maxPorts)
	}
	slices.Sort(ports)
	if len(slices.Compact(slices.Clone(ports))) < len(ports) {
		return nil, fmt.Errorf("a port stands in it twice")
	}
	return ports, nil
}

// maxPorts bounds the listening sockets of a server: each loop has one for each port.
const maxPorts = 1024

// PortRange reads LOW-HIGH.
func PortRange(text string) ([2]int, error) {
	from, to, _ := strings.Cut(text, "-")
	low, err := strconv.ParseUint(from, 10, 16)
	high, errHigh := strconv.ParseUint(to, 10, 16)
	if err != nil || errHigh != nil || low == 0 || high < low {
		return [2]int{}, fmt.Errorf("want LOW-HIGH from 1 to 65535, as in 20000-29999")
	}
	return [2]int{int(low), int(high)}, nil
}

// Bytes writes a number of bytes as Size and Amount read it: 16M.
func Bytes(n uint64) string {
	unit := 0
	for ; n > 0 && n%1024 == 0 && unit < 4; unit++ {
		n /= 1024
	}
	return fmt.Sprint(n) + strings.TrimSpace(" kMGT"[unit:unit+1])
}
