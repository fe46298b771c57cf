package diagnose

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"tcpbench/metrics"
)

// acceptQueue: connections met a full accept queue.
func acceptQueue(r *metrics.Result) *metrics.Finding {
	n := here(r, "TcpExt.ListenOverflows")
	if n == 0 {
		return nil
	}
	f := &metrics.Finding{
		Name:     AcceptQueue,
		What:     fmt.Sprintf("%s SYNs and last ACKs met a full accept queue", number(n)),
		Evidence: append(evidence(r, "TcpExt.ListenOverflows", "TcpExt.ListenDrops"), count("dropped by the run's listening sockets", uint64(dropped(r)))),
		Mechanism: "A listening socket holds min(backlog, net.core.somaxconn) + 1 connections that nobody has accepted (sk_acceptq_is_full). " +
			"If it is full, the kernel drops a SYN, which the client sends again after a second, and the last ACK of a handshake, after which " +
			"the client believes that it is connected.",
	}
	if q := longest(r); q != nil {
		f.What += fmt.Sprintf("; that of %s holds %s, and a sample saw up to %s in it", q.Addr, number(q.Limit+1), number(q.Peak))
		f.Evidence = append(f.Evidence, count("queue limit", uint64(q.Limit)), count("queue peak", uint64(q.Peak)))
	}
	f.What += "."
	burst := len(r.Bursts) > 0
	switch {
	case burst:
		f.What += " Bursts came faster than accept() could follow."
		f.Evidence = append(f.Evidence, count("connects of the first burst", r.Bursts[0].Issued))
	case r.Flagged("server-limited"):
		f.What += " The server's processors were used up, so it accepted too slowly."
	case r.Flagged("shared-host"):
		f.What += " Client and server shared processors that were used up, so the server accepted too late."
	}
	if d, ok := r.Histograms[metrics.AcceptDelay]; ok && d.Count > 0 && d.P99 >= d.Resolution {
		f.Evidence = append(f.Evidence, metrics.Value{Name: "accept_delay.p99", Value: float64(d.P99), Unit: "ns"})
	}
	f.Remedies = queueRemedies(where(r, "net.core.somaxconn"))
	return f
}

func queueRemedies(somaxconn string) []metrics.Remedy {
	return []metrics.Remedy{
		{Do: "accept faster: more accepting threads (SO_REUSEPORT), and nothing slow between two accept()", Cost: "a change of the application"},
		{Do: fmt.Sprintf("a larger backlog in listen(), and net.core.somaxconn (now %s) with it", somaxconn), Cost: "memory for connections that wait, and they wait longer"},
	}
}

// longest is the queue with the highest peak.
func longest(r *metrics.Result) *metrics.Queue {
	var q *metrics.Queue
	for i := range r.Kernel {
		for k := range r.Kernel[i].Listeners {
			if l := &r.Kernel[i].Listeners[k]; q == nil || l.Peak > q.Peak {
				q = l
			}
		}
	}
	return q
}

// synQueue: more handshakes were in flight than the SYN queue holds.
func synQueue(r *metrics.Result) *metrics.Finding {
	seen := evidence(r, "TcpExt.TCPReqQFullDoCookies", "TcpExt.TCPReqQFullDrop", "TcpExt.SyncookiesSent", "TcpExt.SyncookiesRecv", "TcpExt.SyncookiesFailed")
	drops := here(r, "TcpExt.TCPReqQFullDrop")
	met := here(r, "TcpExt.TCPReqQFullDoCookies") + drops
	if met == 0 {
		return nil
	}
	what := fmt.Sprintf("%s SYNs met a full SYN queue; %s SYN cookies were sent, %s SYNs dropped.", number(met),
		number(here(r, "TcpExt.SyncookiesSent")), number(drops))
	f := &metrics.Finding{
		Name: SYNQueue, What: what, Evidence: seen,
		Mechanism: "A listening socket keeps min(backlog, net.core.somaxconn) + 1 handshakes whose last ACK is missing (inet_csk_reqsk_queue_is_full). " +
			"Beyond that the kernel answers with a SYN cookie and keeps nothing (RFC 4987, section 3.6), or with net.ipv4.tcp_syncookies=0 drops the SYN.",
		Remedies: []metrics.Remedy{
			{Do: "a larger backlog in listen(), net.core.somaxconn and net.ipv4.tcp_max_syn_backlog", Cost: "0.3 KB for each half-open connection"},
		},
	}
	if where(r, "net.ipv4.tcp_syncookies") == "0" {
		f.Remedies = slices.Insert(f.Remedies, 0, metrics.Remedy{Do: "sysctl -w net.ipv4.tcp_syncookies=1 (the default): honest clients are served throughout",
			Cost: "without TCP timestamps a cookie has no room for window scaling and SACK"})
	}
	return f
}

// firstRTO is the time after which an unanswered SYN is sent again (TCP_TIMEOUT_INIT; RFC 6298,
// section 2).
const firstRTO = time.Second

// SYNRetransmitted is the finding that connect times have steps.
const SYNRetransmitted = "syn-retransmitted"

// stepsAreRetransmissions: at least as many SYNs were sent again as connections took a second or more.
// If there were fewer, the client itself was late.
func stepsAreRetransmissions(r *metrics.Result) bool {
	connect, err := connectTimes(r).Recorder()
	return err == nil && connect.CountBetween(int64(firstRTO), metrics.HighestLatency) <= r.Counter("TcpExt", "TCPSynRetrans")
}

// connectTimes are the uncorrected ones if there are any: they leave out the client's own lateness.
func connectTimes(r *metrics.Result) metrics.Histogram {
	if h, ok := r.Histograms[metrics.ConnectUncorrected]; ok {
		return h
	}
	return r.Histograms[metrics.Connect]
}

// synsLost lists the steps in the connect times that come from SYNs sent again.
func synsLost(r *metrics.Result) *metrics.Finding {
	h := connectTimes(r)
	again := r.Counter("TcpExt", "TCPSynRetrans")
	if h.Count == 0 || h.Max < int64(firstRTO) || again == 0 {
		return nil
	}
	connect, err := h.Recorder()
	if err != nil {
		return nil // Read refuses such a document
	}
	f := &metrics.Finding{Name: SYNRetransmitted, Evidence: evidence(r, "TcpExt.TCPSynRetrans", "TcpExt.ListenDrops", "TcpExt.ListenOverflows")}
	var steps []string
	total := int64(0)
	last := firstRTO
	for ; last <= time.Duration(h.Max); last += time.Second {
		if n := connect.CountBetween(int64(last), int64(last+time.Second)); n > 0 {
			name := fmt.Sprintf("%d s", int(last.Seconds()))
			steps = append(steps, fmt.Sprintf("%s at %s", number(n), name))
			f.Evidence = append(f.Evidence, count("established at "+name, uint64(n)))
			total += n
		}
	}
	who := number(total) + " connections were"
	if total == 1 {
		who = "1 connection was"
	}
	f.What = fmt.Sprintf("%s established only by a SYN that was sent again, which shows as steps in the connect times: %s. "+
		"The kernel sent %s SYNs again.", who, strings.Join(steps, ", "), number(again))
	f.Mechanism = "The kernel sends an unanswered SYN again after 1 s (TCP_TIMEOUT_INIT; RFC 6298), then net.ipv4.tcp_syn_linear_timeouts " +
		"more times a second apart, and then after twice as long each time."
	f.Remedies = []metrics.Remedy{{Do: "find where they are lost: tcpdump on both ends, packet filters, TcpExt ListenDrops on the server", Cost: "none"}}
	switch drops := dropped(r); {
	case drops > 0 && here(r, "TcpExt.ListenOverflows")+here(r, "TcpExt.TCPReqQFullDrop") > 0:
		f.What += fmt.Sprintf(" The server's listening sockets dropped %s SYNs and last ACKs, because a queue was full.", number(drops))
		f.Remedies = queueRemedies(where(r, "net.core.somaxconn"))
	case drops > 0:
		f.What += fmt.Sprintf(" The server's listening sockets dropped %s SYNs, though no queue was full.", number(drops))
	case len(listened(r)) > 0:
		f.What += " The server's listening sockets dropped none: the SYNs, or their answers, were lost on the way."
	}
	return f
}
