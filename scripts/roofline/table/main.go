// Command table turns the results of scripts/bench-short into a table of medians
// and a verdict.
//
// It reads a folder with one file for each measurement, named by pairing and round:
// b.3.kv is what the C client printed, a.3.json a result document of tcpbench, e.3.wrk
// the words of wrk, and a.3.tw, where it exists, the sockets in TIME_WAIT at the client
// and at the server. Exit status 1 says that a bar was missed, 3 that more rounds are needed to
// decide one, 2 that there is no verdict.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"

	"tcpbench/metrics/compare"
)

// names are the pairings by letter; yardstick is the one that all others are divided by.
var names = map[rune]string{
	'a': "tcpbench -> tcpbench",
	'b': "C client -> C server",
	'c': "tcpbench -> C server",
	'd': "C client -> tcpbench",
	'e': "wrk -> C server, HTTP",
	'f': "(a), kernel watched",
}

const (
	yardstick = 'b'
	noisy     = 1.15 // a pairing's fastest round by its slowest, from which a warning is due
)

// bars are the ratios that tcpbench promises: the client alone, the server alone, both, and both
// while the kernel is watched, which is the default of tcpbench run.
var bars = []struct {
	pairing, of rune
	atLeast     float64
	what        string
}{
	{'c', yardstick, 0.95, "the client"},
	{'d', yardstick, 0.90, "the server"},
	{'a', yardstick, 0.85, "both"},
	{'f', 'a', 0.98, "watched"},
}

var (
	errMissed    = errors.New("a bar is missed")
	errUndecided = errors.New("a bar is undecided")
)

func main() {
	err := run(os.Stdout, os.Args[1:])
	switch {
	case errors.Is(err, errMissed):
		os.Exit(1)
	case errors.Is(err, errUndecided):
		os.Exit(3)
	case err != nil:
		fmt.Fprintln(os.Stderr, "table:", err)
		os.Exit(2)
	}
}

func run(w io.Writer, args []string) error {
	flags := flag.NewFlagSet("table", flag.ContinueOnError)
	pairings := flags.String("pairings", "abcdef", "the pairings that were measured")
	rounds := flags.Int("rounds", 8, "the rounds of each")
	looks := flags.Int("looks", 1, "how often the rounds may be judged before there are enough")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New("usage: table [--pairings abcdef] [--rounds N] [--looks N] FOLDER")
	}
	rows, err := readAll(flags.Arg(0), *pairings, *rounds)
	if err != nil {
		return err
	}
	ratios, err := medians(rows)
	if err != nil {
		return err
	}
	printTable(w, rows, ratios)
	fmt.Fprintln(w)
	printNoise(w, rows)
	printTimeWait(w, rows)
	return printBars(w, rows, *looks)
}

// medians returns, for each pairing, the median over the rounds of its rate divided
// by the yardstick's rate in the same round: what slows a whole round down cancels out.
func medians(rows map[rune][]sample) (map[rune]float64, error) {
	all := make(map[rune]float64)
	base := rows[yardstick]
	if base == nil {
		return all, nil
	}
	for pairing, samples := range rows {
		ratios := make([]float64, len(samples))
		for i, s := range samples {
			if base[i].rate == 0 {
				return nil, fmt.Errorf("round %d: the yardstick stood still", i+1)
			}
			ratios[i] = s.rate / base[i].rate
		}
		all[pairing] = median(ratios)
	}
	return all, nil
}

func printTable(w io.Writer, rows map[rune][]sample, ratios map[rune]float64) {
	const line = "(%c) %-22s%9.0f%9.0f%9.0f%9s%9s%9d\n"
	fmt.Fprintf(w, "\n%35s%27s%9s\n", "conn/s", "of (b)", "us/conn")
	fmt.Fprintf(w, "%-26s%9s%9s%9s%9s%9s%9s\n",
		"client -> server", "median", "min", "max", "median", "client", "failed")
	for _, pairing := range letters(rows) {
		each := rates(rows[pairing])
		var cpu []float64
		var failed uint64
		for _, s := range rows[pairing] {
			failed += s.failed
			if s.cpu > 0 {
				cpu = append(cpu, s.cpu)
			}
		}
		ratio, used := "-", "-"
		if r, ok := ratios[pairing]; ok {
			ratio = fmt.Sprintf("%.3f", r)
		}
		if len(cpu) > 0 {
			used = fmt.Sprintf("%.1f", median(cpu))
		}
		fmt.Fprintf(w, line, pairing, names[pairing], median(each),
			slices.Min(each), slices.Max(each), ratio, used, failed)
	}
}

// printNoise warns of pairings that did not hold still.
func printNoise(w io.Writer, rows map[rune][]sample) {
	byRate := func(x, y sample) int { return cmp.Compare(x.rate, y.rate) }
	for _, pairing := range letters(rows) {
		low := slices.MinFunc(rows[pairing], byRate).rate
		high := slices.MaxFunc(rows[pairing], byRate).rate
		if high > noisy*low {
			fmt.Fprintf(w, "NOISY: (%c) ran at %.0f to %.0f: the machine is shared; "+
				"try more --rounds\n", pairing, low, high)
		}
	}
}

// printTimeWait says who keeps TIME_WAIT: rates over different closes do not compare.
func printTimeWait(w io.Writer, rows map[rune][]sample) {
	for _, pairing := range letters(rows) {
		var client, server uint64
		for _, s := range rows[pairing] {
			client += s.timeWaitClient
			server += s.timeWaitServer
		}
		switch {
		case client+server == 0:
			fmt.Fprintf(w, "(%c) TIME_WAIT was not counted\n", pairing)
		case server*100 > client:
			fmt.Fprintf(w, "(%c) NOT COMPARABLE: the server keeps %d of %d TIME_WAIT\n",
				pairing, server, client+server)
		default:
			fmt.Fprintf(w, "(%c) the client keeps %d of %d TIME_WAIT\n",
				pairing, client, client+server)
		}
	}
	if rows['e'] != nil {
		fmt.Fprintln(w, "(e) connects from one address and pays the port search that others avoid")
	}
}

// printBars says where each ratio stands to its bar. What was not measured is not passed.
func printBars(w io.Writer, rows map[rune][]sample, looks int) error {
	fmt.Fprintln(w)
	var err error
	for _, bar := range bars {
		fmt.Fprintf(w, "(%c) %-11s at least %.2f of (%c): ", bar.pairing, bar.what, bar.atLeast, bar.of)
		base, values := rates(rows[bar.of]), rates(rows[bar.pairing])
		if base == nil || values == nil {
			fmt.Fprintln(w, "not measured")
			err = errMissed
			continue
		}
		b := compare.NewBar(base, values, bar.atLeast, looks)
		fmt.Fprintln(w, b)
		switch {
		case b.Position == compare.Below:
			err = errMissed
		case b.Position == compare.Undecided && err == nil:
			err = errUndecided
		}
	}
	return err
}

func rates(samples []sample) (all []float64) {
	for _, s := range samples {
		all = append(all, s.rate)
	}
	return all
}

func letters(rows map[rune][]sample) []rune {
	var all []rune
	for pairing := range rows {
		all = append(all, pairing)
	}
	slices.Sort(all)
	return all
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
