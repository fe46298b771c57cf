package scenarios

import (
	"tcpbench/metrics"
	"tcpbench/server"
)

// nearRoom is the share of a server's room from which its resets are taken for its want of
// descriptors: what is in flight is looked at once a second.
const nearRoom = 0.9

// roomOf is for how many connections all targets together have descriptors, or zero if one of
// them has not told.
func roomOf(rooms []int, targets int) (sum int) {
	if len(rooms) < targets {
		return 0
	}
	for _, n := range rooms {
		if n == 0 {
			return 0
		}
		sum += n
	}
	return sum
}

// flagRoom says whether a tcpbench server refused connections because it had no descriptors
// for them: its own count of these, or resets while about as many were in flight as it has
// room for.
func (s *stage) flagRoom(r *metrics.Result, flag flagger) {
	const remedy = "Raise its limit of open files (ulimit -n), or make --connections smaller."
	if r.Server != nil {
		if n := r.Server.Closed[server.Descriptors.String()]; n > 0 {
			flag(metrics.ServerDescriptors, "The server reset %d connections, warm-up included, because it had no descriptors left for them. %s", n, remedy)
		}
		return
	}
	var resets uint64
	for stage := range metrics.Stages {
		resets += r.Failed[metrics.FailureName(stage, metrics.Reset)]
	}
	most := 0
	for _, row := range r.Series {
		most = max(most, row.InFlight)
	}
	if s.room > 0 && resets > 0 && float64(most) >= nearRoom*float64(s.room) {
		flag(metrics.ServerDescriptors, "The server has descriptors for %d connections at a time, %d were in flight, and %d were reset. %s", s.room, most, resets, remedy)
	}
}
