package scenarios

import (
	"fmt"
	"strings"
	"time"

	"tcpbench/internal/lab"
	"tcpbench/loadgen"
	"tcpbench/metrics"
	"tcpbench/metrics/diagnose"
	"tcpbench/metrics/kernel"
)

// Where a number stops being a matter of course. They decide only which sentences a
// result carries, never its numbers.
const (
	saturated    = 0.90 // share of its time for which a thread was busy
	hostFull     = 0.95 // share of all processors in use
	foreignShare = 0.15 // share of all processors used by neither side
	stealShare   = 0.02
	lagShare     = 0.5 // share of connect that may be the client's own lateness
	rateReached  = 0.99
	// shortestJudged is the time in seconds from which the use of processors says something.
	shortestJudged = 0.2
	// otherOpens is the share of connections by others on this host that goes unsaid.
	otherOpens = 0.01
)

// judge adds the cross-checks and the flags.
func (s *stage) judge(r *metrics.Result, report *metrics.ClientReport, moved kernel.Moved) {
	r.Checks = s.checks(r, report, moved)
	r.Flags = []metrics.Flag{}
	flag := func(name, format string, args ...any) {
		r.Flags = append(r.Flags, metrics.Flag{Name: name, Why: fmt.Sprintf(format, args...)})
	}
	if r.Attempted == 0 {
		flag("invalid", "No connection was attempted in the measured time, so there is nothing to judge.")
	}
	for _, c := range r.Checks {
		if !c.OK {
			flag("invalid", "The check %s does not hold, so some of these numbers are wrong.", c.Name)
		}
	}
	if report.Stopped != "" {
		flag("interrupted", "The run ended before its time: %s.", report.Stopped)
	}
	if s.serverLost != nil {
		flag("server-lost", "The run has lost its server: %v.", s.serverLost)
	}
	if s.unobserved != nil {
		flag("unobserved", "The kernel could not be watched: %v. The result has no view of it.", s.unobserved)
	}
	flagTrace(r, s.untraced, flag)
	flagSpaces(r, flag)
	flagMultipath(r, flag)
	s.flagLink(r, flag)
	flagNothing(r, flag)
	s.flagExhaustion(r, report, flag)
	s.flagLimits(r, report, flag)
	s.flagPace(r, flag)
	s.flagNoise(r, report, moved, flag)
	r.Findings = diagnose.Findings(r)
}

// flagMultipath says that connections fell back to TCP.
func flagMultipath(r *metrics.Result, flag flagger) {
	if m := r.MPTCP; m != nil && m.Fallbacks > 0 {
		flag("mptcp-fallback", "%d of %d connections with --mptcp fell back to TCP, because the server, or something on the way, does not speak MPTCP: a tcpbench server takes --mptcp, of any other look at net.mptcp.enabled there and at its sockets (ss -M).",
			m.Fallbacks, m.Fallbacks+m.Spoken)
	}
}

// flagTrace says which tracepoints there were not.
func flagTrace(r *metrics.Result, untraced error, flag flagger) {
	if untraced != nil {
		flag("untraced", "The kernel's tracepoints could not be asked: %v. The rest was measured without them.", untraced)
	}
	for _, v := range r.Kernel {
		if v.Trace != nil && len(v.Trace.Refused) > 0 {
			flag("untraced", "Some of the kernel's tracepoints could not be asked: %s. The rest was measured without them.", strings.Join(v.Trace.Refused, "; "))
		}
	}
}

// flagLink says whether the lab's link did what it was to.
func (s *stage) flagLink(r *metrics.Result, flag flagger) {
	if r.Lab == nil {
		return
	}
	for _, d := range []struct {
		name string
		how  *lab.Impairment
		link *metrics.LabLink
	}{{"server", &s.plan.Lab.Link.ToServer, r.Lab.ToServer}, {"client", &s.plan.Lab.Link.ToClient, r.Lab.ToClient}} {
		if tooLate(d.how, d.link) {
			flag("late-link", "Packets to the %s were delayed by %v more than they were to be, one in a hundred aside: this machine is too slow for so many. "+
				"Take a lower rate.", d.name, time.Duration(d.link.LateP99).Round(10*time.Microsecond))
		}
		if d.link != nil && d.link.Overflows > 0 {
			flag("late-link", "%d packets to the %s were lost because too many came at once, or were under way. Take a lower rate.", d.link.Overflows, d.name)
		}
	}
}

type flagger func(name, format string, args ...any)

// remedies says what to look at when nothing succeeds, by the outcome of most attempts.
var remedies = map[metrics.Outcome]string{
	metrics.BadAddress:          "is each of --sources an address of this host (ip addr)?",
	metrics.Refused:             "does a server listen there (ss -ltn)?",
	metrics.Unreachable:         "is there a route (ip route get)?",
	metrics.Denied:              "does a packet filter or a missing privilege forbid it?",
	metrics.DescriptorsExceeded: "raise the limit of descriptors (ulimit -n), or lower --connections.",
	metrics.TimedOut:            "does the server answer at all? --timeout bounds each stage.",
	metrics.ClosedEarly:         "does the server understand the request? See --payload and --until.",
	metrics.Reset:               "does the server understand the request? See --payload and --until.",
	metrics.ServerDescriptors:   "raise the limit of descriptors where the server starts (ulimit -n), or start several servers.",
	metrics.ServerConnections:   "start the server with a higher --max-connections, or give more --sources.",
	metrics.ServerRate:          "start the server with a higher --max-rate, or give more --sources.",
	metrics.ServerBytes:         "start the server with a higher --max-bytes.",
	metrics.ServerLife:          "start the server with a longer --max-life.",
	metrics.ServerSize:          "start the server with a higher --max-request or --max-response.",
	metrics.Unexpected:          "is it a tcpbench server? Drive others with --payload and --until.",
}

// flagNothing says why nothing succeeded, as far as the failures tell.
func flagNothing(r *metrics.Result, flag flagger) {
	if r.Succeeded > 0 || r.TotalFailed() == 0 {
		return
	}
	var most metrics.Outcome
	var stage metrics.Stage
	for s := range metrics.Stages {
		for o := metrics.Succeeded + 1; o < metrics.Outcomes; o++ {
			if r.Failed[metrics.FailureName(s, o)] > r.Failed[metrics.FailureName(stage, most)] {
				stage, most = s, o
			}
		}
	}
	name := metrics.FailureName(stage, most)
	remedy, ok := remedies[most]
	if !ok {
		remedy = "docs/result.md says what that means."
	}
	flag("nothing-succeeded", "No attempt succeeded, and %d ended as %s: %s", r.Failed[name], name, remedy)
}

func (s *stage) flagExhaustion(r *metrics.Result, report *metrics.ClientReport, flag flagger) {
	n := r.Failed[metrics.FailureName(metrics.StageConnect, metrics.PortsExhausted)] +
		r.Failed[metrics.FailureName(metrics.StageSocket, metrics.PortsExhausted)]
	if n == 0 && s.plan.Client.OnExhausted != loadgen.WaitExhausted || n+uint64(report.ExhaustedNS) == 0 {
		return
	}
	flag("ports-exhausted", "%d attempts found no free four-tuple and arrivals were held back for %v: "+
		"every port of net.ipv4.ip_local_port_range (%s) was taken, most by TIME_WAIT. "+
		"More --sources or destination ports, or --close server, give more.",
		n, time.Duration(report.ExhaustedNS).Round(time.Millisecond),
		r.Host.Sysctls["net.ipv4.ip_local_port_range"])
}

// flagLimits says who set the rate.
func (s *stage) flagLimits(r *metrics.Result, report *metrics.ClientReport, flag flagger) {
	if r.ElapsedS == 0 {
		return
	}
	var busy int64
	for _, l := range report.Loops {
		busy += l.BusyNS
	}
	elapsed := float64(report.ElapsedNS)
	client := float64(busy) / elapsed / float64(len(report.Loops))
	shared := s.plan.local()
	switch {
	case shared && r.CPU.HostBusy >= hostFull:
		flag("shared-host", "Client and server shared %d processors, which were %.0f %% busy: "+
			"the rate is what both sides make together. Run the client on another machine to load the server alone.",
			r.Host.CPUs, 100*r.CPU.HostBusy)
	case client >= saturated:
		flag("client-limited", "The client's %d threads were busy for %.0f %% of the time while the processors were %.0f %% busy: "+
			"the client, not the server, set the rate. Add --threads or client machines.",
			len(report.Loops), 100*client, 100*r.CPU.HostBusy)
	case s.plan.Server != nil:
		if server := float64(cpuOf(s.from.server, s.to.server)) / elapsed / float64(s.plan.Server.Loops); server >= saturated {
			flag("server-limited", "The server's %d loops used %.0f %% of their processors: the server set the rate.",
				s.plan.Server.Loops, 100*server)
		}
	}
}

// flagPace says whether an open loop kept its schedule.
func (s *stage) flagPace(r *metrics.Result, flag flagger) {
	if r.RateIntended == nil || r.Attempted+r.Missed == 0 {
		return
	}
	if due := r.Attempted + r.Missed; float64(r.Attempted) < rateReached*float64(due) {
		flag("rate-missed", "%d of %d arrivals that were due could not start: %d slots (--connections) were taken, "+
			"or the client was too far behind its schedule.", r.Missed, due, s.plan.Client.Connections)
	}
	s.flagLag(r, flag)
}

// flagLag says whether late starts make up a large part of connect, which counts from the due
// time. The same connections counted from their start are the measure, so it holds on loopback
// and across an ocean.
func (s *stage) flagLag(r *metrics.Result, flag flagger) {
	due, start := r.Histograms[metrics.Connect], r.Histograms[metrics.ConnectUncorrected]
	for _, q := range []struct {
		name       string
		due, start int64
	}{{"p50", due.P50, start.P50}, {"p99", due.P99, start.P99}} {
		if float64(q.due-q.start) > lagShare*float64(q.due) {
			flag("lagging", "The client started connections late: connect %s is %v counted from when they were due, and %v from when they started. "+
				"connect and lifetime contain the difference, which is the client's own.", q.name, time.Duration(q.due).Round(time.Microsecond), time.Duration(q.start).Round(time.Microsecond))
			return
		}
	}
}

func (s *stage) flagNoise(r *metrics.Result, report *metrics.ClientReport, moved kernel.Moved, flag flagger) {
	if r.CPU.HostSteal >= stealShare {
		flag("noisy-host", "The hypervisor took %.1f %% of the processors' time away during the run.", 100*r.CPU.HostSteal)
	}
	// The kernel counts the processors' time in hundredths of a second.
	if s.plan.Server != nil && r.CPU.Server != nil && r.ElapsedS >= shortestJudged {
		capacity := float64(report.ElapsedNS) * float64(r.Host.CPUs)
		own := float64(report.UserNS+report.SystemNS+cpuOf(s.from.server, s.to.server)+int64(s.to.own-s.from.own)) / capacity
		if others := r.CPU.HostBusy - own; others >= foreignShare {
			flag("noisy-host", "Processes other than client and server used %.0f %% of the processors during the run.", 100*others)
		}
	}
	opens := moved["Tcp"]["ActiveOpens"]
	if others := opens - int64(report.SYNs); float64(others) > 10+otherOpens*float64(report.SYNs) {
		flag("other-traffic", "Others on this host opened %d connections during the run (Tcp ActiveOpens grew by %d).", others, opens)
	}
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
