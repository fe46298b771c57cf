package values

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Every number of the command line has a range. Help shows it as the kind of the flag, and errors name it. A
// number whose default is zero accepts zero too, which is the same as no flag.

// Year bounds durations, so that sums of several do not overflow.
const Year = 365 * 24 * time.Hour

// MaxBacklog is the largest backlog of listen(): a C int.
const MaxBacklog = math.MaxInt32

// number describes a flag of a number with a range.
type number[N int | uint64 | float64 | time.Duration] struct {
	least, most N
	what, as    string // words such as "a duration", and an example
	parse       func(string) (N, error)
	show        func(N) string
	meant       func(string) string
}

// flag returns a flag for *to.
func (r number[N]) flag(to *N) pflag.Value {
	kind := r.show(r.least) + "-" + r.show(r.most)
	want := fmt.Sprintf("%s from %s to %s%s", r.what, r.show(r.least), r.show(r.most), r.as)
	text, off := r.show(*to), *to == 0 && r.least > 0
	if *to == 0 {
		text = ""
	}
	if off {
		kind = r.show(0) + "," + kind
		want += ", or " + r.show(0) + " for none"
	}
	v := &value[N]{to: to, text: text, kind: kind, guess: r.meant}
	v.parse = func(text string) (N, error) {
		n, err := r.parse(text)
		if inside := n >= r.least && n <= r.most || off && n == 0; err != nil || !inside { // NaN is not inside
			return 0, fmt.Errorf("want %s", want)
		}
		return n, nil
	}
	return v
}

// Whole returns a flag of a whole number from least to most.
func Whole[N int | uint64](to *N, least, most N) pflag.Value {
	if *to == 0 && least == 1 {
		least = 0
	}
	return number[N]{
		least: least, most: most, what: "a whole number",
		parse: func(text string) (N, error) {
			n, err := strconv.ParseInt(text, 0, 64)
			return N(n), err
		},
		show: func(n N) string { return fmt.Sprint(n) }, meant: whole,
	}.flag(to)
}

// Share returns a flag of a real number from 0 to 1.
func Share(to *float64) pflag.Value {
	return number[float64]{
		most: 1, what: "a number", as: ", as in 0.5",
		parse: func(text string) (float64, error) { return strconv.ParseFloat(text, 64) },
		show:  func(n float64) string { return strconv.FormatFloat(n, 'g', -1, 64) },
	}.flag(to)
}

// Time returns a flag of a duration from least to most, a multiple of step.
func Time(to *time.Duration, least, most, step time.Duration) pflag.Value {
	r := number[time.Duration]{
		least: least, most: most, what: "a duration", as: ", as in " + short(max(least, min(most, 10*time.Second))),
		show: short, meant: Duration,
	}
	switch {
	case step == time.Second:
		r.as = " in whole seconds" + r.as
	case step > time.Nanosecond:
		r.as = " in steps of " + short(step) + r.as
	}
	r.parse = func(text string) (time.Duration, error) {
		d, err := time.ParseDuration(text)
		if err == nil && d%step != 0 {
			err = strconv.ErrSyntax
		}
		return d, err
	}
	return r.flag(to)
}

// short writes a duration without units that are zero: 2m instead of 2m0s.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// Seed returns a flag of any number of 64 bits.
func Seed(to *uint64) pflag.Value {
	return New(to, "", "SEED", func(text string) (uint64, error) {
		n, err := strconv.ParseUint(text, 0, 64)
		if err != nil {
			return 0, fmt.Errorf("want a whole number from 0 to %d", uint64(math.MaxUint64))
		}
		return n, nil
	})
}
