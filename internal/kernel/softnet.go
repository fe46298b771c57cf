package kernel

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"tcpbench/metrics"
)

// ReadSoftnet adds up /proc/net/softnet_stat: the work of all processors' receive paths since the
// machine started (net/core/net-procfs.c, softnet_seq_show).
func ReadSoftnet() (metrics.Softnet, error) {
	const name = "/proc/net/softnet_stat"
	text, err := os.ReadFile(name)
	if err != nil {
		return metrics.Softnet{}, err
	}
	s, err := parseSoftnet(string(text))
	if err != nil {
		return s, fmt.Errorf("%s: %w", name, err)
	}
	return s, nil
}

// parseSoftnet reads a line of hexadecimal columns for each processor.
func parseSoftnet(text string) (s metrics.Softnet, err error) {
	n := 0
	for line := range strings.Lines(text) {
		n++
		fields := strings.Fields(line)
		if len(fields) < 3 {
			return s, fmt.Errorf("line %d: %d columns, want 3 or more", n, len(fields))
		}
		for i, to := range []*int64{&s.Processed, &s.Dropped, &s.Squeezed} {
			v, err := strconv.ParseUint(fields[i], 16, 32)
			if err != nil {
				return s, fmt.Errorf("line %d: column %d: %q is no hexadecimal number of 32 bits", n, i+1, fields[i])
			}
			*to += int64(v)
		}
	}
	if n == 0 {
		return s, fmt.Errorf("no processor")
	}
	return s, nil
}

// since is the difference to an earlier reading. The kernel's counters have 32 bits.
func since(now, before metrics.Softnet) metrics.Softnet {
	const wrap = 1<<32 - 1
	return metrics.Softnet{
		Processed: (now.Processed - before.Processed) & wrap,
		Dropped:   (now.Dropped - before.Dropped) & wrap,
		Squeezed:  (now.Squeezed - before.Squeezed) & wrap,
	}
}
