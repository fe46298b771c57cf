package sockets

import (
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/loadgen/pace"
	"tcpbench/metrics"
)

// infoSample is the size of the groups of connections of which the kernel is asked about one. A
// getsockopt() takes as long as a tenth of a short connection's whole life.
const infoSample = 64

// infoStep is the unit of round-trip times in TCP_INFO, in nanoseconds.
const infoStep = 1000

// slowConnect is a time after which a SYN was lost, or this machine is slow: every connection that
// took so long is asked about.
const slowConnect = int64(200 * time.Millisecond)

// evidence is how a loop asks about the kernel's doings.
type evidence struct {
	info                 unix.TCPInfo // as last asked
	sampled, sampledLast sampler      // of connections that are established, that have played their script
	tried                *space       // of the last connect()
	lacking              int64        // since when no four-tuple is free; zero while one is
}

func newEvidence(seed uint64, place int) evidence {
	return evidence{
		sampled:     newSampler(pace.Generator(seed, place, pace.EstablishedStream)),
		sampledLast: newSampler(pace.Generator(seed, place, pace.ClosingStream)),
	}
}

// sampleEstablished asks the kernel about a connection that is established.
func (l *loop) sampleEstablished(c *conn) {
	regular := l.sampled.take()
	if !regular && l.now-c.began < slowConnect || tcpInfo(int(c.fd), &l.info) != 0 {
		return
	}
	if regular {
		l.hist.record(handshakeRTT, int64(l.info.Rtt)*infoStep)
	}
	t := &l.report.TCP
	t.Established++
	t.NoticedNS = max(t.NoticedNS, int64(l.info.Last_ack_recv)*int64(time.Millisecond))
	t.SYNRetransmits += uint64(l.info.Total_retrans)
}

// countMultipath asks the kernel whether a connection that is established speaks Multipath TCP.
func (l *loop) countMultipath(c *conn) {
	var spoken int32
	if errno := option(int(c.fd), unix.SOL_TCP, tcpIsMPTCP, &spoken); errno == 0 && spoken != 0 {
		l.report.MPTCP.Spoken++
	} else {
		l.report.MPTCP.Fallbacks++
	}
}

// noteLast asks the kernel about a connection that has played its script, and keeps what the server
// said on one that fails. Its socket is open.
func (l *loop) noteLast(slot int32, stage metrics.Stage, outcome metrics.Outcome) {
	c := &l.conns[slot]
	switch {
	case !c.measured:
	case outcome == metrics.Succeeded:
		l.sampleClosing(c)
	default:
		l.noteAnswer(slot, stage, outcome)
	}
}

func (l *loop) sampleClosing(c *conn) {
	if !l.sampledLast.take() || tcpInfo(int(c.fd), &l.info) != 0 {
		return
	}
	t := &l.report.TCP
	t.Closed++
	t.Seen(l.info.Snd_mss)
	if l.info.Rtt > 0 {
		l.hist.record(tcpRTT, int64(l.info.Rtt)*infoStep)
	}
	if n := l.info.Total_retrans; n > 0 {
		t.Retransmits += uint64(n)
		t.Retransmitted++
	}
}

// lack notes that the last space that was tried had no free four-tuple.
func (l *loop) lack() {
	if l.measuring {
		l.counts.calls.Exhausted++
	}
	if l.report.Exhaustion == nil {
		l.report.Exhaustion = &metrics.Exhaustion{AtNS: l.now - l.measureFrom, Target: l.tried.target.String()}
		if s := l.tried.source; s != nil {
			l.report.Exhaustion.Source = s.addr.String()
		}
	}
	if l.lacking == 0 {
		l.lacking = l.now
	}
}

// endLack notes that a connect() has found a port again.
func (l *loop) endLack(now int64) {
	if l.lacking != 0 {
		if l.measuring && !l.ended {
			l.hist.record(exhausted, now-l.lacking)
		}
		l.lacking = 0
	}
}

// noteIssue notes when the connections of one burst were really issued.
func (l *loop) noteIssue(c *conn) {
	bursts := l.report.Bursts
	if n := len(bursts); n == 0 || bursts[n-1].Due != c.due {
		bursts = append(bursts, metrics.Burst{Due: c.due, First: c.began})
	}
	last := &bursts[len(bursts)-1]
	last.Count++
	last.Last = c.began
	l.report.Bursts = bursts
}

// sampler picks one of each infoSample events in a row, at random. A fixed step would pick the
// same source address again and again, because sources rotate.
type sampler struct {
	random       *rand.PCG
	index, picks uint64 // within the present group
}

func newSampler(random *rand.PCG) sampler { return sampler{random: random, index: infoSample} }

// take tells whether the next event is picked.
func (s *sampler) take() bool {
	if s.index == infoSample {
		s.index, s.picks = 0, s.random.Uint64()%infoSample
	}
	picked := s.index == s.picks
	s.index++
	return picked
}

// noteDialled records a connect() that has returned.
func (l *loop) noteDialled(c *conn, returned int64) {
	l.report.SYNs++
	l.arrivals.Backoff.Succeed(returned)
	l.endLack(returned)
	if took := returned - c.began; c.measured {
		l.hist.record(connectCall, took)
		l.counts.calls.Made++
		l.counts.calls.NS += took
		if l.upperHalf.Load() {
			l.hist.record(connectCallUpper, took)
		}
		l.hist.record(scheduleLag, c.began-c.due)
	}
	if l.Process == pace.Bursts {
		l.noteIssue(c)
	}
	if !l.arrivals.Open() {
		c.due = c.began // a closed loop has no intended time to count from
	}
}

// noteEstablished records a handshake that is over.
func (l *loop) noteEstablished(slot int32, c *conn) {
	l.report.Established++
	if l.Options.MPTCP {
		l.countMultipath(c)
	}
	l.replies.content.begin(slot)
	c.heard = l.now
	if c.measured {
		l.hist.record(connectTime, l.now-c.due)
		l.interval.connect.Record(l.now - c.due)
		if l.arrivals.Open() {
			l.hist.record(connectUncorrected, l.now-c.began)
		}
		l.sampleEstablished(c)
	}
}

// noteExchange records one exchange, or beat.
func (l *loop) noteExchange(c *conn) {
	switch {
	case !c.measured:
	case l.Lifecycle.Beat == nil:
		l.hist.record(exchangeTime, l.now-c.mark)
	default:
		l.hist.record(heartbeat, l.now-c.mark)
	}
}

// noteEnd counts the end of an attempt.
func (l *loop) noteEnd(c *conn, stage metrics.Stage, outcome metrics.Outcome) {
	l.countEnd(outcome, l.now)
	if !c.measured {
		return
	}
	l.ends[stage][outcome]++
	if outcome == metrics.Succeeded {
		l.hist.record(lifetime, l.now-c.due)
		if l.arrivals.Open() {
			l.hist.record(lifetimeUncorrected, l.now-c.began)
		}
	}
}

// noteLag records how late the loop does what a connection had planned for the time due. Heartbeats
// that it skips because it is so late are missed. What the end of the run releases has no such time.
func (l *loop) noteLag(slot int32, due int64) {
	c := &l.conns[slot]
	if l.released {
		return
	}
	late := l.clock() - due
	if b := l.Lifecycle.Beat; b != nil {
		l.report.Beats.Missed += uint64(late / int64(b.Every))
	}
	if c.measured {
		l.hist.record(scheduleLag, late)
	}
}
