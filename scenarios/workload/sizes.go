package workload

import (
	"tcpbench/internal/values"
	"tcpbench/scenarios/stage"
)

// Each flag has a range of its own (package values). Some are sizes that multiply, and what
// they make together has a bound here: a run would need more memory, or more processes, than a
// machine has.
const (
	// mostConnections is more than a machine has memory for.
	mostConnections = 16 << 20
	// mostProcesses is how many clients share a run at the most; each of them has event loops
	// and histograms of its own, and a server beside it.
	mostProcesses = 64
	// mostPairs bounds the pairs of a source and a target, of which each loop has a table.
	mostPairs = 1 << 20
	// mostPipelined bounds the requests that are sent at once, in bytes.
	mostPipelined = values.MaxMessage
)

// checkSizes finds sizes that are too large together.
func (w *Workload) checkSizes(plan *stage.Plan) error {
	c := &plan.Client
	if each := len(c.Lifecycle.Again); w.pipeline && w.exchanges*each > mostPipelined {
		return misuse("pipeline", " sends %d requests of %d bytes at once, and %d bytes in all are the most: make --exchanges or --request-size smaller",
			w.exchanges, each, mostPipelined)
	}
	if n := plan.CrewSize(); n > mostProcesses {
		flag := "connections"
		if w.burst > 0 && !w.set(flag) {
			flag = "burst"
		}
		return misuse(flag, " %d: this takes %d processes of %d descriptors each, and %d are the most: make it smaller, or raise the hard limit of descriptors (ulimit -Hn)",
			c.Connections, n, stage.MostConnections()+stage.SpareDescriptors, mostProcesses)
	}
	if targets := len(c.Targets) + len(w.ports); len(w.sources)*targets > mostPairs {
		return misuse("sources", " are %d addresses towards %d targets, which makes more than %d pairs: name fewer, each pair has thousands of ports",
			len(w.sources), targets, mostPairs)
	}
	return nil
}
