// Package diagnose says in words what a result, or the settings of a host, mean for
// connections: what happened or will, from which evidence, by which mechanism, and what
// to do about it at what cost.
//
// Everything here is a pure function of a document. A run that is healthy is told
// nothing: a finding needs a counter that moved or a failure that was counted, never a
// suspicion alone.
package diagnose

import (
	"fmt"
	"strings"

	"tcpbench/metrics"
)

// Findings tells what happened in a run, the gravest first.
func Findings(r *metrics.Result) []metrics.Finding {
	var all []metrics.Finding
	for _, look := range []func(*metrics.Result) *metrics.Finding{
		portsExhausted, descriptorsExhausted, serverDescriptors, serverBounds, memoryShort,
		acceptQueue, synQueue, synsLost, timeWaitTable, assassinated, portSearch, resets,
		serverLimited, clientLimited, stolen, receivePath, noisy,
	} {
		if f := look(r); f != nil {
			all = append(all, *f)
		}
	}
	return all
}

// moved is evidence of the counters that grew, and their growth by name.
func moved(r *metrics.Result, names ...string) (evidence []metrics.Value) {
	for _, name := range names {
		group, counter, _ := strings.Cut(name, " ")
		if n := r.Counter(group, counter); n != 0 {
			evidence = append(evidence, metrics.Value{Name: name, Value: float64(n)})
		}
	}
	return evidence
}

// failed is the number of attempts that ended so, in whatever stage.
func failed(r *metrics.Result, o metrics.Outcome) (n uint64) {
	for s := range metrics.Stages {
		n += r.Failed[metrics.FailureName(s, o)]
	}
	return n
}

func count(name string, n uint64) metrics.Value { return metrics.Value{Name: name, Value: float64(n)} }

func seconds(s float64) string { return fmt.Sprintf("%.3g s", s) }

// number writes a count with a comma at every third digit.
func number[N int | int64 | uint64](n N) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
