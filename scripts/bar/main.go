// Command bar says whether a ratio is above its bar, below, or whether that is undecided.
//
// It reads a line for each round: what the ratio is taken of, and the value. Exit status 0 is
// above, 1 below, 3 undecided, and 2 says that there is nothing to judge.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"tcpbench/metrics/compare"
)

// codes are the exit statuses; scripts/roofline/table has the same.
var codes = map[compare.Position]int{compare.Above: 0, compare.Below: 1, compare.Undecided: 3}

func main() {
	standing, err := run(os.Stdin, os.Stdout, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "bar:", err)
		os.Exit(2)
	}
	os.Exit(codes[standing])
}

func run(r io.Reader, w io.Writer, args []string) (compare.Position, error) {
	flags := flag.NewFlagSet("bar", flag.ContinueOnError)
	atLeast := flags.Float64("at-least", 0, "the bar")
	looks := flags.Int("looks", 1, "how often the rounds may be judged before there are enough")
	if err := flags.Parse(args); err != nil {
		return "", err
	}
	var base, values []float64
	for {
		var b, v float64
		_, err := fmt.Fscan(r, &b, &v)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", fmt.Errorf("round %d: %w", len(base)+1, err)
		}
		if b <= 0 || v <= 0 {
			return "", fmt.Errorf("round %d: %g and %g have no ratio", len(base)+1, b, v)
		}
		base, values = append(base, b), append(values, v)
	}
	if len(values) == 0 || *atLeast <= 0 {
		return "", errors.New("usage: bar --at-least RATIO [--looks N], with two numbers for each round on stdin")
	}
	b := compare.NewBar(base, values, *atLeast, *looks)
	fmt.Fprintf(w, "at least %.2f: %v\n", b.AtLeast, b)
	return b.Position, nil
}
