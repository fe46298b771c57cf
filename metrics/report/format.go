package report

import (
	"math"
	"strconv"
	"strings"
	"unicode"
)

// absent replaces a number that there is not.
const absent = "–"

// Duration writes nanoseconds with three significant digits: 431 ns, 8.45 µs, 1.23 ms, 16.7 min.
func Duration(ns int64) string { return duration(float64(ns)) }

var durationUnits = []struct {
	name  string
	ns    float64
	below float64 // larger numbers have the next unit
}{
	{"ns", 1, 1000},
	{"µs", 1e3, 1000},
	{"ms", 1e6, 1000},
	{"s", 1e9, 1000},
	{"min", 60e9, 60},
	{"h", 3600e9, 100},
	{"d", 86400e9, math.Inf(1)},
}

func duration(ns float64) string {
	switch {
	case math.IsNaN(ns) || math.Abs(ns) > math.MaxInt64: // 292 years
		return absent
	case ns == 0:
		return "0 s"
	}
	for _, u := range durationUnits {
		text, rounded := threeDigits(ns / u.ns)
		if math.Abs(rounded) >= u.below {
			continue
		}
		if u.ns == 1 {
			text = strconv.FormatFloat(math.Round(ns), 'f', 0, 64)
		}
		return text + " " + u.name
	}
	return absent
}

// Count writes a number with a comma at every third digit: 251,384.
func Count[N int | int64 | uint64](n N) string {
	text := strconv.FormatUint(uint64(n), 10)
	sign := ""
	if n < 0 {
		text, sign = strconv.FormatUint(-uint64(n), 10), "-"
	}
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return sign + text
}

// compact writes a count in at most five characters: 3.93k, 12.0M.
func compact(n int64) string {
	v := float64(n)
	for _, suffix := range []string{"", "k", "M", "G", "T", "P", "E"} {
		text, rounded := threeDigits(v)
		switch {
		case math.Abs(rounded) >= 1000:
			v /= 1000
		case suffix == "":
			return strconv.FormatInt(n, 10)
		default:
			return text + suffix
		}
	}
	return absent // never: 2^63 is 9.2E
}

// Rate writes a number per second, whole from 1000 on: 25,132/s, 12.5/s.
func Rate(perSecond float64) string {
	text, rounded := threeDigits(perSecond)
	size := math.Abs(rounded)
	switch {
	case math.IsNaN(size) || math.IsInf(size, 0):
		return absent
	case perSecond == 0:
		return "0/s"
	case size < 0.01 || size >= 1e15:
		text = strconv.FormatFloat(perSecond, 'g', 3, 64)
	case size >= 1000:
		text = Count(int64(math.Round(perSecond)))
	}
	return text + "/s"
}

// Percent writes a share between 0 and 1. Only zero reads as 0 and only one as 100: <0.01 %, >99.99 %.
func Percent(share float64, decimals int) string {
	v := share * 100
	switch {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return absent
	case math.Abs(v) >= 1000:
		return strconv.FormatFloat(v, 'g', 3, 64) + " %"
	}
	digits := func(v float64) string { return strconv.FormatFloat(v, 'f', decimals, 64) }
	text, step := digits(v), math.Pow10(-decimals)
	switch {
	case v > 0 && text == digits(0):
		text = "<" + digits(step)
	case v < 100 && text == digits(100):
		text = ">" + digits(100-step)
	}
	return text + " %"
}

// threeDigits rounds to three significant digits. The rounded value decides the unit: 999.6 reads as
// 1000.
func threeDigits(v float64) (text string, rounded float64) {
	rounded, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'e', 2, 64), 64) // the text is our own
	decimals := 0
	switch size := math.Abs(rounded); {
	case size < 10:
		decimals = 2
	case size < 100:
		decimals = 1
	}
	return strconv.FormatFloat(rounded, 'f', decimals, 64), rounded
}

// clean makes a text safe to print on one line: a result file is input, and a terminal obeys escape
// sequences.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
