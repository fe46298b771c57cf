package stage

import (
	"fmt"
	"strings"
	"time"

	"tcpbench/internal/kernel"
	"tcpbench/internal/kernel/sockdiag"
	"tcpbench/internal/lab"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
	"tcpbench/metrics"
)

// Limits from which a number is worth a sentence. They decide only which flags a result has,
// never its numbers.
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

// judgement is all that flags are made from.
type judgement struct {
	*stage
	result *metrics.Result
	report *metrics.ClientReport
	moved  kernel.Moved
}

// say adds a flag with a sentence.
type say func(format string, args ...any)

// flagger says something under the name of a flag.
func flagger(r *metrics.Result, name string) say {
	return func(format string, args ...any) {
		r.Flags = append(r.Flags, metrics.Flag{Name: name, Why: fmt.Sprintf(format, args...)})
	}
}

// flags are told in this order. known must hold for the evidence to mean what the flag says.
var flags = []struct {
	name  string
	known func(*judgement) bool
	tell  func(*judgement, say)
}{
	{"invalid", always, (*judgement).invalid},
	{"interrupted", always, (*judgement).interrupted},
	{"server-lost", always, (*judgement).lostServer},
	{"unobserved", always, (*judgement).unseen},
	{"untraced", always, (*judgement).noTrace},
	{"spaces-left-out", always, (*judgement).spacesLeft},
	{"mptcp-fallback", withMultipath, (*judgement).fallback},
	{"late-link", inLab, (*judgement).lateLink},
	{"nothing-succeeded", noneSucceeded, (*judgement).nothing},
	{"ports-exhausted", always, (*judgement).exhausted},
	{"shared-host", theirOwn, (*judgement).shared},
	{"client-limited", someIdle, (*judgement).clientLimited},
	{"server-limited", hadWork, (*judgement).serverLimited},
	{"rate-missed", scheduled, (*judgement).missed},
	{"lagging", atARate, (*judgement).late},
	{"noisy-host", lasted, (*judgement).stolen},
	{"noisy-host", allKnown, (*judgement).noisy},
	{"other-traffic", always, (*judgement).others},
}

func always(*judgement) bool { return true }

func withMultipath(j *judgement) bool { return j.result.MPTCP != nil }

func inLab(j *judgement) bool { return j.result.Lab != nil }

func noneSucceeded(j *judgement) bool { return j.result.Succeeded == 0 }

// lasted tells whether shares of processors say something: the kernel counts them in hundredths
// of a second.
func lasted(j *judgement) bool { return j.result.ElapsedS >= shortestJudged }

// paced tells whether there is a rate that a side could limit: connections succeeded in the
// measured time, or were held.
func paced(j *judgement) bool { return lasted(j) && j.report.InTime+j.report.Held > 0 }

// allKnown tells whether the processor time of both sides is known.
func allKnown(j *judgement) bool {
	return lasted(j) && j.plan.Server != nil && j.result.CPU.Server != nil
}

// full tells whether client and server shared a machine without an idle processor: then a busy
// thread may only have waited for one.
func full(j *judgement) bool { return j.plan.local() && j.result.CPU.HostBusy >= hostFull }

// theirOwn tells whether client and server used up the processors that they shared. If the
// server's processor time is not known, it assumes so.
func theirOwn(j *judgement) bool {
	return paced(j) && j.plan.local() && (!allKnown(j) || j.foreign() < foreignShare)
}

func someIdle(j *judgement) bool { return paced(j) && !full(j) }

// hadWork tells whether the server had connections, and the client time to open more.
func hadWork(j *judgement) bool {
	return someIdle(j) && allKnown(j) && j.result.Server != nil && j.result.Server.Accepted > 0 && j.busy() < saturated
}

// scheduled tells whether arrivals had due times.
func scheduled(j *judgement) bool {
	return atARate(j) || j.plan.Client.Process == pace.Bursts
}

func atARate(j *judgement) bool { return j.result.RateIntended != nil }

func (j *judgement) invalid(flag say) {
	if j.result.Attempted == 0 {
		flag("No connection was attempted in the measured time, so there is nothing to judge.")
	}
	for _, c := range j.result.Checks {
		if !c.OK {
			flag("The check %s does not hold, so some of these numbers are wrong.", c.Name)
		}
	}
}

func (j *judgement) interrupted(flag say) {
	if j.report.Stopped != "" {
		flag("The run ended before its time: %s.", j.report.Stopped)
	}
}

func (j *judgement) lostServer(flag say) {
	if j.serverLost != nil {
		flag("The run has lost its server: %v.", j.serverLost)
	}
}

func (j *judgement) unseen(flag say) {
	if j.unobserved != nil {
		flag("The kernel could not be watched: %v. The result has no view of it.", j.unobserved)
	}
}

func (j *judgement) noTrace(flag say) { flagTrace(j.result, j.untraced, flag) }

// flagTrace says which tracepoints there were not.
func flagTrace(r *metrics.Result, untraced error, flag say) {
	if untraced != nil {
		flag("The kernel's tracepoints could not be asked: %v. The rest was measured without them.", untraced)
	}
	for _, v := range r.Kernel {
		if v.Trace != nil && len(v.Trace.Refused) > 0 {
			flag("Some of the kernel's tracepoints could not be asked: %s. The rest was measured without them.", strings.Join(v.Trace.Refused, "; "))
		}
	}
}

// fallback says how many connections asked for MPTCP and got TCP.
func (j *judgement) fallback(flag say) {
	if m := j.result.MPTCP; m.Fallbacks > 0 {
		flag("%d of %d connections with --mptcp fell back to TCP, because the server, or something on the way, does not speak MPTCP: a tcpbench server takes --mptcp, of any other look at net.mptcp.enabled there and at its sockets (ss -M).",
			m.Fallbacks, m.Fallbacks+m.Spoken)
	}
}

// spacesLeft says that a census saw more than it tells apart.
func (j *judgement) spacesLeft(flag say) {
	for _, v := range j.result.Kernel {
		if v.Spaces != nil && v.Spaces.Left > 0 {
			flag("The census tells %d pairs of a source address and a destination apart, and there were more: %d sockets are in none. "+
				"ports_in_use, the fullest space and connect_call_upper know nothing of these; fewer --sources or --ports would be told whole.", sockdiag.MostSpaces, v.Spaces.Left)
		}
	}
}

// lateLink says whether the lab's link did more than it was told.
func (j *judgement) lateLink(flag say) {
	for _, d := range []struct {
		name string
		how  *lab.Impairment
		link *metrics.LabLink
	}{{"server", &j.plan.Lab.Link.ToServer, j.result.Lab.ToServer}, {"client", &j.plan.Lab.Link.ToClient, j.result.Lab.ToClient}} {
		if tooLate(d.how, d.link) {
			flag("99 of 100 packets to the %s were late by up to %v beyond the link's delay: this machine is too slow for so many. "+
				"Take a lower rate.", d.name, time.Duration(d.link.LateP99).Round(10*time.Microsecond))
		}
		if d.link != nil && d.link.Overflows > 0 {
			flag("%d packets to the %s were lost because too many came at once, or were under way. Take a lower rate.", d.link.Overflows, d.name)
		}
	}
}

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

// nothing says why nothing succeeded, as far as the failures tell.
func (j *judgement) nothing(flag say) {
	r := j.result
	if r.TotalFailed() == 0 {
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
	flag("No attempt succeeded, and %d ended as %s: %s", r.Failed[name], name, remedy)
}

func (j *judgement) exhausted(flag say) {
	r, report := j.result, j.report
	n := r.Failed[metrics.FailureName(metrics.StageConnect, metrics.PortsExhausted)] +
		r.Failed[metrics.FailureName(metrics.StageSocket, metrics.PortsExhausted)]
	if n == 0 && j.plan.Client.OnExhausted != loadgen.WaitExhausted || n+uint64(report.ExhaustedNS) == 0 {
		return
	}
	by := "as a rule by TIME_WAIT"
	if e := r.Exhaustion; e != nil && e.Ports > 0 {
		by = fmt.Sprintf("%d of %d by TIME_WAIT", e.TimeWait, e.Ports)
	}
	flag("%d attempts found no free four-tuple and arrivals were held back for %v: "+
		"each of the %d local ports of a pair of source and destination was taken, %s. "+
		"More --sources or destination ports, or --close server, give more.",
		n, time.Duration(report.ExhaustedNS).Round(time.Millisecond), j.plan.rangeSize(&r.Host), by)
}

func (j *judgement) shared(flag say) {
	if full(j) {
		flag("Client and server shared %d processors, which were %.0f %% busy: "+
			"the rate is what both sides make together. Run the client on another machine to load the server alone.",
			j.result.Host.CPUs, 100*j.result.CPU.HostBusy)
	}
}

// busy is the share of their time for which the client's threads had work.
func (j *judgement) busy() float64 {
	var busy int64
	for _, l := range j.report.Loops {
		busy += l.BusyNS
	}
	return float64(busy) / float64(j.report.ElapsedNS) / float64(len(j.report.Loops))
}

func (j *judgement) clientLimited(flag say) {
	if busy := j.busy(); busy >= saturated {
		flag("The client's %d threads were busy for %.0f %% of the time while the processors were %.0f %% busy: "+
			"the client, not the server, set the rate. Add --threads or client machines.",
			len(j.report.Loops), 100*busy, 100*j.result.CPU.HostBusy)
	}
}

func (j *judgement) serverLimited(flag say) {
	loops := j.plan.Server.Loops
	if n := len(j.servers); n > 1 { // of several each has one
		loops = n
	}
	if used := float64(cpuOf(j.from.server, j.to.server)) / float64(j.report.ElapsedNS) / float64(loops); used >= saturated {
		flag("The server's %d loops used %.0f %% of their processors: the server set the rate.", loops, 100*used)
	}
}

// missed says whether arrivals could not start.
func (j *judgement) missed(flag say) {
	if due := j.result.Attempted + j.result.Missed; float64(j.result.Attempted) < rateReached*float64(due) {
		flag("%d of %d arrivals that were due could not start: %d slots (--connections) were taken, "+
			"or the client was too far behind its schedule.", j.result.Missed, due, j.plan.Client.Connections)
	}
}

// late says whether late starts make up a large part of connect, which counts from the due
// time. The same connections counted from their start are the measure, so it holds on loopback
// and across an ocean.
func (j *judgement) late(flag say) {
	r := j.result
	due, start := r.Histograms[metrics.Connect], r.Histograms[metrics.ConnectUncorrected]
	for _, q := range []struct {
		name       string
		due, start int64
	}{{"p50", due.P50, start.P50}, {"p99", due.P99, start.P99}} {
		if float64(q.due-q.start) > lagShare*float64(q.due) {
			flag("The client started connections late: connect %s is %v counted from when they were due, and %v from when they started. "+
				"connect and lifetime contain the difference, which is the client's own.", q.name, time.Duration(q.due).Round(time.Microsecond), time.Duration(q.start).Round(time.Microsecond))
			return
		}
	}
}

func (j *judgement) stolen(flag say) {
	if j.result.CPU.HostSteal >= stealShare {
		flag("The hypervisor took %.1f %% of the processors' time away during the run.", 100*j.result.CPU.HostSteal)
	}
}

// foreign is the share of all processors that others than the run used.
func (j *judgement) foreign() float64 {
	capacity := float64(j.report.ElapsedNS) * float64(j.result.Host.CPUs)
	own := j.report.UserNS + j.report.SystemNS + cpuOf(j.from.server, j.to.server) + int64(j.to.own-j.from.own)
	return j.result.CPU.HostBusy - float64(own)/capacity
}

func (j *judgement) noisy(flag say) {
	if others := j.foreign(); others >= foreignShare {
		flag("Processes other than client and server used %.0f %% of the processors during the run.", 100*others)
	}
}

func (j *judgement) others(flag say) {
	opens := j.moved["Tcp"]["ActiveOpens"]
	if others := opens - int64(j.report.SYNs); float64(others) > 10+otherOpens*float64(j.report.SYNs) {
		flag("Others on this host opened %d connections during the run (Tcp ActiveOpens grew by %d).", others, opens)
	}
}
