package scenarios

import (
	"fmt"
	"strings"
	"time"

	"tcpbench/metrics"
	"tcpbench/metrics/kernel"
)

// firstRTO is the time after which a SYN without an answer is sent again
// (TCP_TIMEOUT_INIT, RFC 6298 section 2).
const firstRTO = time.Second

// flagRetransmissions names the steps in the connect histogram that come from SYNs sent
// again: a connection that was established late by whole seconds waited for them.
func flagRetransmissions(r *metrics.Result, moved kernel.Moved, flag flagger) {
	// The uncorrected times where there are some: lateness of the client is no step.
	h, ok := r.Histograms[metrics.ConnectUncorrected]
	if !ok {
		h = r.Histograms[metrics.Connect]
	}
	again := moved["TcpExt"]["TCPSynRetrans"]
	if h.Count == 0 || h.Max < int64(firstRTO) || again == 0 {
		return
	}
	connect, err := h.Recorder()
	if err != nil {
		return // a histogram of our own that cannot be read back fails its check elsewhere
	}
	var steps []string
	total := int64(0)
	for second := firstRTO; second <= time.Duration(h.Max); second += time.Second {
		if n := connect.CountBetween(int64(second), int64(second+time.Second)); n > 0 {
			steps = append(steps, fmt.Sprintf("%d at %d s", n, int(second.Seconds())))
			total += n
		}
	}
	dropped := fmt.Sprintf("TcpExt ListenDrops grew by %d, ListenOverflows by %d", moved["TcpExt"]["ListenDrops"], moved["TcpExt"]["ListenOverflows"])
	flag("syn-retransmitted", "%d connections were established only by a SYN that was sent again, so their connect times stand in steps: %s. "+
		"The kernel sent %d SYNs again in this namespace (TcpExt TCPSynRetrans); %s. Where those grow, the accept queue was full: "+
		"accept faster, or raise --backlog and net.core.somaxconn.", total, strings.Join(steps, ", "), again, dropped)
}
