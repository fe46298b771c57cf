// Package diagnose explains results and settings of hosts: what happened or will happen to connections,
// the evidence, the mechanism, and the remedies with their costs.
//
// All are pure functions of a document. A finding needs a counter that moved or a failure that was
// counted, so a healthy run has none.
package diagnose

import (
	"fmt"
	"strconv"

	"tcpbench/metrics"
)

// looks are the findings, the gravest first. known must hold for the evidence to mean what the finding
// says, because others in the namespace move its counters too.
var looks = []struct {
	name  string
	known func(*metrics.Result) bool
	find  func(*metrics.Result) *metrics.Finding
}{
	{PortsExhausted, measuredExhaustion, portsExhausted},
	{Descriptors, always, descriptorsExhausted},
	{ServerDescriptors, always, serverDescriptors},
	{ServerBounds, always, serverBounds},
	{Memory, always, memoryShort},
	{AcceptQueue, func(r *metrics.Result) bool { return dropped(r) > 0 }, acceptQueue},
	{SYNQueue, queueWasFull, synQueue},
	{SYNRetransmitted, stepsAreRetransmissions, synsLost},
	{TimeWaitTable, tableWasFull, timeWaitTable},
	{Assassinated, nothingEndsInOrder, assassinated},
	{PortSearch, chosenByConnect, portSearch},
	{Resets, always, resets},
	{"server-limited", idleLeft, serverLimited},
	{"client-limited", idleLeft, clientLimited},
	{"steal", longEnough, stolen},
	{"receive-path", longEnough, receivePath},
	{"noisy-host", longEnough, noisy},
}

// Findings explains what happened in a run.
func Findings(r *metrics.Result) []metrics.Finding {
	var all []metrics.Finding
	for _, look := range looks {
		if !look.known(r) {
			continue
		}
		if f := look.find(r); f != nil {
			all = append(all, *f)
		}
	}
	return all
}

// evidence is what quantities of the result measured, without those that are zero.
func evidence(r *metrics.Result, names ...string) (all []metrics.Value) {
	for _, name := range names {
		q, _ := metrics.FindQuantity(name)
		if v, ok := q.Value(r); ok && v.Value != 0 {
			all = append(all, v)
		}
	}
	return all
}

// failed is the number of attempts that ended so, in any stage.
func failed(r *metrics.Result, o metrics.Outcome) (n uint64) {
	for s := range metrics.Stages {
		n += r.Failed[metrics.FailureName(s, o)]
	}
	return n
}

func count(name string, n uint64) metrics.Value { return metrics.Value{Name: name, Value: float64(n)} }

func seconds(s float64) string { return fmt.Sprintf("%.3g s", s) }

// number64 reads a setting.
func number64(text string) (n int64, ok bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

// number writes a count with a comma at every third digit.
func number[N int | int64 | uint64](n N) string {
	text := fmt.Sprint(n)
	for i := len(text) - 3; i > 0 && text[i-1] != '-'; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}
