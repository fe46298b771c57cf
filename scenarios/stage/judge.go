package stage

import (
	"fmt"

	"tcpbench/internal/kernel"
	"tcpbench/metrics"
	"tcpbench/metrics/diagnose"
)

// judge adds the cross-checks and the flags.
func (s *stage) judge(r *metrics.Result, report *metrics.ClientReport, moved kernel.Moved) {
	r.Checks = s.checks(r, report, moved)
	r.Flags = []metrics.Flag{}
	j := &judgement{s, r, report, moved}
	for _, f := range flags {
		if f.known(j) {
			f.tell(j, flagger(r, f.name))
		}
	}
	r.Findings = diagnose.Findings(r)
}

// checks compares what was counted on different sides.
func (s *stage) checks(r *metrics.Result, report *metrics.ClientReport, moved kernel.Moved) []metrics.Check {
	var all []metrics.Check
	check := func(name string, ok bool, format string, args ...any) {
		all = append(all, metrics.Check{Name: name, OK: ok, Detail: fmt.Sprintf(format, args...)})
	}
	balance := r.Balance()
	check("balance", balance == nil, "%d attempted = %d succeeded + %d failed + %d open",
		r.Attempted, r.Succeeded, r.TotalFailed(), r.Open)
	check("samples", uint64(r.Histograms[metrics.Lifetime].Count) == r.Succeeded,
		"%d lifetimes recorded, %d attempts succeeded", r.Histograms[metrics.Lifetime].Count, r.Succeeded)
	opens := moved["Tcp"]["ActiveOpens"]
	check("active-opens", opens >= 0 && uint64(opens) >= report.SYNs,
		"the kernel counts %d ActiveOpens in this namespace, those of other processes included; the client sent %d SYNs; both in the warm-up, too", opens, report.SYNs)
	if r.Server != nil {
		// A connection that was reset or given up before the client saw it established
		// may have been accepted, so the client's count is a lower bound.
		// With a full accept queue the kernel drops the ACK that ends a handshake: the
		// client is established, and the server may never learn of it.
		overflows := moved["TcpExt"]["ListenOverflows"]
		// Between the two sides' ends of the warm-up thousands may be accepted, so no less than
		// all connections of the run can be compared.
		before := r.Server.Before()
		accepted := before.Accepted + r.Server.Accepted
		check("accepted", (accepted >= report.Established || overflows > 0) && accepted <= report.SYNs,
			"the server accepted %d in the warm-up and %d after it, the client saw %d established of %d SYNs in both; TcpExt ListenOverflows grew by %d",
			before.Accepted, r.Server.Accepted, report.Established, report.SYNs, overflows)
		check("server-balance", r.Server.Balance() == nil, "%d open at the end of the warm-up + %d accepted after it = %d open + %d closed",
			before.Open, r.Server.Accepted, r.Server.Open, r.Server.TotalClosed())
	}
	return all
}
