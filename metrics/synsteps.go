package metrics

import (
	"strconv"
	"time"
)

// synSteps are the times since connect() at which the client's kernel sends an unanswered SYN again.
// The first timeout is 1 s (TCP_TIMEOUT_INIT). The first net.ipv4.tcp_syn_linear_timeouts are as long,
// and each further one is twice as long as the one before (tcp_retransmit_timer, since Linux 6.5).
func synSteps(r *Result) (all []time.Duration) {
	setting := func(key string, otherwise int) int {
		if n, err := strconv.Atoi(r.Host.Sysctls[key]); err == nil {
			return n
		}
		return otherwise
	}
	retries := setting("net.ipv4.tcp_syn_retries", 6)
	if n, err := strconv.Atoi(r.Scenario.Settings["syncnt"]); err == nil && n > 0 {
		retries = n
	}
	linear := setting("net.ipv4.tcp_syn_linear_timeouts", 0) // an older kernel has none
	longest := time.Duration(setting("net.ipv4.tcp_rto_max_ms", 120_000)) * time.Millisecond
	at, timeout := time.Duration(0), time.Second
	for n := range retries {
		if at += timeout; n >= linear {
			timeout = min(2*timeout, longest)
		}
		all = append(all, at)
	}
	return all
}

const (
	// mostLate is the lateness from which on nobody can tell at which step a connect lies.
	mostLate = 500 * time.Millisecond
	// longestTick is that of a kernel with HZ=100.
	longestTick = 10 * time.Millisecond
)

// lateness is by how much a busy machine may have delayed a connect: until the link read its packets,
// and until the client knew. Connects that lose no SYN show it too.
func lateness(r *Result, connects *Histogram) time.Duration {
	const usual = 100 * time.Millisecond // of timers, and of what nobody has measured
	waited := int64(usual)
	if r.TCP != nil {
		waited += r.TCP.NoticedNS
	}
	for _, l := range r.links() {
		waited += l.BehindMax
	}
	return time.Duration(max(waited, 4*(connects.P50-connects.Min), 2*r.Histograms[LoopLag].Max))
}

// connectSteps sorts connects by synSteps: seen is the number of steps with connects, off the number of
// connects neither at a step nor at the start. It is not ok if the machine was too slow to tell.
func connectSteps(r *Result) (seen, off int64, ok bool) {
	h := r.Histograms[Connect]
	if u, open := r.Histograms[ConnectUncorrected]; open { // without the client's own lateness
		h = u
	}
	connects, err := h.Recorder()
	if h.Count == 0 || err != nil {
		return 0, 0, false
	}
	late := lateness(r, &h)
	if late > mostLate {
		return 0, 0, false
	}
	off = h.Count
	steps := append([]time.Duration{0}, synSteps(r)...)
	// The kernel's timers count ticks that have begun, so they may be one early. The round trip after
	// a step may be shorter than that of any connect at the start.
	begins := func(step time.Duration) int64 {
		from := int64(max(0, step-longestTick))
		return from - from/1000 // to the histogram's resolution
	}
	for i, step := range steps {
		// They are late by up to an eighth of their time (kernel/time/timer.c).
		to := int64(step+step/8+late) + h.Min
		if i+1 < len(steps) {
			to = min(to, begins(steps[i+1]))
		}
		n := connects.CountBetween(begins(step), to)
		off -= n
		if i > 0 && n > 0 {
			seen++
		}
	}
	return seen, off, true
}
