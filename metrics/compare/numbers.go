package compare

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"tcpbench/metrics"
)

// number is a quantity as a table compares it. A count stands for each attempted connection, because
// a faster side has more of everything.
type number struct{ metrics.Quantity }

// PerConnection is the unit of a count.
const PerConnection = "1/conn"

// compared are the quantities of every table, where results have them.
var compared = []string{
	"rate", "rate_opened", "rate_heartbeats", "connect.p50", "connect.p99", "connect.p999", "connect_call.p50", "connect_call.p99",
	"lifetime.p50", "lifetime.p99", "heartbeat_rtt.p50", "heartbeat_rtt.p99",
	"cpu.client", "cpu.server", "cpu.client_per_opened", "cpu.server_per_opened", "cpu.client_per_heartbeat", "cpu.server_per_heartbeat",
	"TIME_WAIT.max", "FIN_WAIT2.max",
}

// telling are counters of the kernel that say why numbers differ.
var telling = []string{
	"TcpExt.ListenOverflows", "TcpExt.ListenDrops", "TcpExt.TCPTimeWaitOverflow", "TcpExt.TWRecycled", "TcpExt.TCPSynRetrans",
	"TcpExt.TCPReqQFullDrop", "TcpExt.SyncookiesSent",
}

func newNumber(name string) number {
	q, ok := metrics.FindQuantity(name)
	if !ok { // a failure that another version has named
		q = metrics.FailureQuantity(strings.TrimPrefix(name, "failed."))
	}
	if q.Unit == "" {
		of := q.Of
		q.Name, q.Unit = q.Name+"/conn", PerConnection
		q.Of = func(r *metrics.Result) (float64, bool) {
			n, ok := of(r)
			return n / float64(max(r.Attempted, 1)), ok && r.Attempted > 0
		}
	}
	return number{q}
}

// of reads the number from a result with enough samples of it.
func (n *number) of(r *metrics.Result) (float64, bool) {
	value, ok := n.Of(r)
	return value, ok && !n.few(r)
}

// few tells that a result measured it, with too few samples.
func (n *number) few(r *metrics.Result) bool {
	have := r.Histograms[n.Histogram].Count
	return have > 0 && have < n.Samples
}

func (n *number) tooFew(few, of int) string {
	return fmt.Sprintf("%d of %d results have fewer than the %d samples that it takes", few, of, n.Samples)
}

// numbersOf lists the numbers in which results can differ: what no result has, and what none ever
// counted, is left out.
func numbersOf(sides []Side) (all []number) {
	failures := map[string]bool{}
	for _, s := range sides {
		for _, r := range s.Results {
			for name := range r.Failed {
				failures["failed."+name] = true
			}
		}
	}
	for _, name := range slices.Concat(compared, slices.Sorted(maps.Keys(failures)), telling) {
		n := newNumber(name)
		if slices.ContainsFunc(sides, func(s Side) bool { return slices.ContainsFunc(s.Results, n.present) }) {
			all = append(all, n)
		}
	}
	return all
}

// present tells whether a result has the number, or would have it with more samples.
func (n *number) present(r *metrics.Result) bool {
	v, ok := n.of(r)
	return ok && v != 0 || n.few(r)
}
