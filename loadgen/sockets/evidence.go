package sockets

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/metrics"
)

// infoSample is the size of the groups of connections of which the kernel is asked about one. A
// getsockopt() takes as long as a tenth of a short connection's whole life.
const infoSample = 64

// infoStep is the unit of round-trip times in TCP_INFO, in nanoseconds.
const infoStep = 1000

// slowConnect is a time after which a SYN was lost, or this machine is slow: of connections that
// took so long each is asked.
const slowConnect = int64(200 * time.Millisecond)

// sampleEstablished asks the kernel about a connection that is established.
func (l *loop) sampleEstablished(c *conn) {
	regular := l.sampled.take()
	if !regular && l.now-c.began < slowConnect || tcpInfo(int(c.fd), &l.info) != 0 {
		return
	}
	if regular {
		l.hist.handshakeRTT.Record(int64(l.info.Rtt) * infoStep)
	}
	l.tcp.Established++
	l.tcp.NoticedNS = max(l.tcp.NoticedNS, int64(l.info.Last_ack_recv)*int64(time.Millisecond))
	l.tcp.SYNRetransmits += uint64(l.info.Total_retrans)
}

// countMultipath asks the kernel whether a connection that is established speaks Multipath TCP.
func (l *loop) countMultipath(c *conn) {
	if spoken, errno := getInt(int(c.fd), unix.SOL_TCP, tcpIsMPTCP); errno == 0 && spoken != 0 {
		l.mptcp.Spoken++
	} else {
		l.mptcp.Fallbacks++
	}
}

// sampleClosing asks the kernel about a connection that has played its script.
func (l *loop) sampleClosing(c *conn) {
	if !l.sampledEnds.take() || tcpInfo(int(c.fd), &l.info) != 0 {
		return
	}
	l.tcp.Closed++
	l.tcp.Seen(l.info.Snd_mss)
	if l.info.Rtt > 0 {
		l.hist.tcpRTT.Record(int64(l.info.Rtt) * infoStep)
	}
	if n := l.info.Total_retrans; n > 0 {
		l.tcp.Retransmits += uint64(n)
		l.tcp.Retransmitted++
	}
}

// evidence is what a loop notes about the kernel's doings.
type evidence struct {
	info        unix.TCPInfo // as last asked
	sampled     sampler      // of connections that are established
	sampledEnds sampler      // of connections that have played their script
	tcp         metrics.TCPSample
	mptcp       metrics.MPTCP
	calls       metrics.Calls
	exhausted   *space // of the first connect() that found no free four-tuple
	exhaustedAt int64
	spell       int64 // since when there is none, in the measured time; zero while there is
}

// noteExhaustion: the last space that was tried had no free four-tuple.
func (l *loop) noteExhaustion() {
	if l.measuring {
		l.calls.Exhausted++
	}
	if l.exhausted == nil {
		l.exhausted, l.exhaustedAt = l.tried, l.now
	}
	if l.spell == 0 {
		l.spell = l.now
	}
}

// exhaustion says when and where a four-tuple was first missed.
func (l *loop) exhaustion() *metrics.Exhaustion {
	if l.exhausted == nil {
		return nil
	}
	e := &metrics.Exhaustion{AtNS: l.exhaustedAt - l.measureFrom, Target: l.exhausted.target.String()}
	if s := l.exhausted.source; s != nil {
		e.Source = s.addr.String()
	}
	return e
}

// endSpell: a connect() has found a port again.
func (l *loop) endSpell(now int64) {
	if l.spell != 0 {
		if l.measuring && !l.ended {
			l.hist.exhausted.Record(now - l.spell)
		}
		l.spell = 0
	}
}

func (s *sockaddr) String() string {
	port := s.storage.Port
	return netip.AddrPortFrom(s.addr, port<<8|port>>8).String()
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
