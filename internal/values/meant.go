package values

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// asked is the end of an error with a suggestion, or nothing.
func asked(meant string) string {
	if meant == "" {
		return ""
	}
	return ": did you mean " + meant + "?"
}

// units are other names for a unit of time.
var units = map[string][]string{
	"ns": {"nanosecond"}, "us": {"µsec", "usec", "microsecond"}, "ms": {"msec", "milli", "millisecond"},
	"s": {"sec", "second"}, "m": {"min", "minute"}, "h": {"hr", "hour"},
}

var numberAndUnit = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)([a-zµ]*)$`)

// Duration suggests a duration for a text that time.ParseDuration refuses: 3s for 3sec, 3 s or 3. It may
// return nothing.
func Duration(text string) string {
	m := numberAndUnit.FindStringSubmatch(strings.ToLower(strings.ReplaceAll(text, " ", "")))
	if m == nil {
		return ""
	}
	number, unit := m[1], m[2]
	if unit == "" {
		unit = "s"
	}
	for short, long := range units {
		for _, word := range long {
			if unit == word || unit == word+"s" {
				unit = short
			}
		}
	}
	if meant := number + unit; meant != text {
		if _, err := time.ParseDuration(meant); err == nil {
			return meant
		}
	}
	return ""
}

var shortened = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)([kKmM]?)$`)

// whole suggests a whole number: 10000 for 10k or 10,000.
func whole(text string) string {
	m := shortened.FindStringSubmatch(strings.NewReplacer(",", "", "_", "", " ", "").Replace(text))
	if m == nil {
		return ""
	}
	n, _ := strconv.ParseFloat(m[1], 64) // the expression matches numbers only
	n *= map[string]float64{"": 1, "k": 1e3, "m": 1e6}[strings.ToLower(m[2])]
	if meant := fmt.Sprintf("%.0f", n); n == math.Trunc(n) && n < 1<<53 && meant != text {
		return meant
	}
	return ""
}

var (
	largeK   = regexp.MustCompile(`([0-9])K`)
	trailing = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?) *([kKmM]?)[a-zA-Z/]*$`)
)

// scaled suggests texts for one with a unit of thousands or millions: 5k for 5K, 5kk or 5 kB.
func scaled(text string) []string {
	candidates := []string{largeK.ReplaceAllString(text, "${1}k")}
	if m := trailing.FindStringSubmatch(text); m != nil {
		candidates = append(candidates, m[1]+map[string]string{"": "", "k": "k", "m": "M"}[strings.ToLower(m[2])])
	}
	return candidates
}

// meant suggests a value for a text that the flag's parser refuses.
func (v *value[T]) meant(text string) string {
	if v.guess != nil {
		return v.guess(text)
	}
	if words := strings.Split(v.kind, "|"); len(words) > 1 {
		return Nearest(strings.ToLower(text), words)
	}
	for _, candidate := range scaled(text) {
		if _, err := v.parse(candidate); err == nil {
			return candidate
		}
	}
	return ""
}
