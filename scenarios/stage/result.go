package stage

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"tcpbench/internal/wire"
	"tcpbench/loadgen"
	"tcpbench/loadgen/pace"
	"tcpbench/metrics"
)

// fill writes what was counted into the result.
func (s *stage) fill(r *metrics.Result, report *metrics.ClientReport) {
	r.Tally, r.Histograms = report.Tally, report.Histograms
	r.ElapsedS = float64(report.ElapsedNS) / 1e9
	if r.ElapsedS > 0 {
		r.Rate = float64(report.InTime) / r.ElapsedS
		r.RateOffered = float64(report.Attempted) / r.ElapsedS
	}
	if p := s.plan.Client.Profile; p != nil {
		intended := p.Mean(time.Duration(report.ElapsedNS))
		r.RateIntended = &intended
	}
	shares := s.to.cpu.Sub(s.from.cpu)
	r.CPU = metrics.CPU{
		Client:   perConnection(report.UserNS, report.SystemNS, report.MaxRSS, report.EndedInTime),
		HostBusy: shares.Busy, HostSoftIRQ: shares.SoftIRQ, HostSteal: shares.Steal,
	}
	if s.from.server != nil && s.to.server != nil {
		r.CPU.Server = perConnection(s.to.server.UserNS-s.from.server.UserNS,
			s.to.server.SystemNS-s.from.server.SystemNS, s.to.server.MaxRSS, report.EndedInTime)
	}
	s.fillRest(r, report)
	if r.Series == nil {
		r.Series = []metrics.Row{}
	}
}

// fillRest writes what only some workloads have.
func (s *stage) fillRest(r *metrics.Result, report *metrics.ClientReport) {
	c := &s.plan.Client
	if c.Process == pace.Hold {
		s.fillHold(r, report)
	}
	if c.Lifecycle.Beat != nil {
		beats := report.Beats
		r.Beats = &beats
	}
	r.Said = report.Said.Shortened()
	r.FreezeLateNS = s.freezeLate.Nanoseconds()
	r.Exhaustion = report.Exhaustion
	if c.Options.MPTCP {
		counts := report.MPTCP
		r.MPTCP = &counts
	}
	if t := report.TCP; t != (metrics.TCPSample{}) {
		r.TCP = &t
	}
	for _, b := range report.Bursts {
		r.Bursts = append(r.Bursts, metrics.BurstRow{
			DueS: float64(b.Due-int64(c.Warmup)) / 1e9, Issued: b.Count,
			SpreadNS: b.Last - b.First, LateNS: b.First - b.Due,
		})
	}
}

// fillHold writes what a held population was, and what it took.
func (s *stage) fillHold(r *metrics.Result, report *metrics.ClientReport) {
	c, h := &s.plan.Client, &report.Hold
	p := &metrics.Population{
		Wanted: uint64(c.Connections), Held: report.Held, Opened: h.Opened,
		RampS: float64(report.RampNS) / 1e9, HoldS: c.HoldFor.Seconds(),
		Clients: len(s.clients), Servers: len(s.servers),
	}
	r.Population = p
	if h.NS == 0 || p.RampS == 0 { // the run ended before
		return
	}
	p.OpenedPerS = float64(h.Opened) / p.RampS
	beats := h.Beats.Answered
	if b := c.Lifecycle.Beat; b != nil && b.Design == loadgen.ServerListens {
		beats = h.Beats.Sent
	}
	if b := c.Lifecycle.Beat; b != nil && b.Design == loadgen.ServerPings {
		beats = beatsBetween(s.kept.server, s.to.server).Answered
	}
	p.HeartbeatsPerS = float64(beats) / (float64(h.NS) / 1e9)
	each := func(u *metrics.Usage, ramp, kept int64) {
		if u == nil {
			return
		}
		if h.Opened > 0 {
			u.PerOpened = float64(ramp) / 1e3 / float64(h.Opened)
		}
		if beats > 0 {
			u.PerHeartbeat = float64(kept) / 1e3 / float64(beats)
		}
	}
	each(r.CPU.Client, h.RampCPUNS, h.CPUNS)
	each(r.CPU.Server, cpuOf(s.from.server, s.kept.server), cpuOf(s.kept.server, s.to.server))
}

// serve adds what the servers have counted and measured to the result.
func serve(r *metrics.Result, u *ServerUsage) error {
	if u == nil {
		return nil
	}
	r.Server = u.Server
	if r.Beats != nil && u.Server.Beats != nil {
		r.Beats.Add(*u.Server.Beats)
	}
	var err error
	r.Histograms, err = metrics.MergeHistograms(r.Histograms, u.Histograms)
	return err
}

func perConnection(user, system int64, rss, connections uint64) *metrics.Usage {
	u := &metrics.Usage{UserS: float64(user) / 1e9, SystemS: float64(system) / 1e9, MaxRSSBytes: rss}
	if connections > 0 {
		n := float64(connections)
		u.UserPerConnection = float64(user) / 1e3 / n
		u.SystemPerConnection = float64(system) / 1e3 / n
		u.PerConnection = u.UserPerConnection + u.SystemPerConnection
	}
	return u
}

// describe says what the plan does in the words of the result.
func describe(p *Plan) metrics.Scenario {
	sc := metrics.Scenario{
		Name:      p.Name,
		Arrival:   string(p.Client.Process),
		Lifecycle: sentence(&p.Client.Lifecycle),
		Close:     p.Client.Lifecycle.CloseBy.String() + "-" + p.Client.Lifecycle.CloseHow.String(),
		Sources:   ranges(p.Client.Sources),
		Settings:  p.Settings,
	}
	for _, t := range p.Client.Targets {
		sc.Target = append(sc.Target, t.String())
	}
	return sc
}

var beatWords = map[loadgen.Design]string{
	loadgen.ClientPings: "ping", loadgen.ServerListens: "ping a listener", loadgen.ServerPings: "pinged",
}

// sentence is the lifecycle in one line.
func sentence(l *loadgen.Lifecycle) string {
	var b strings.Builder
	b.WriteString("connect")
	if !l.ConnectOnly {
		b.WriteString(asked(l))
		switch l.Response.Kind {
		case loadgen.Exactly:
			fmt.Fprintf(&b, ", receive %d B", l.Response.Bytes)
		case loadgen.AtLeast:
			fmt.Fprintf(&b, ", receive %d B or more", l.Response.Bytes)
		case loadgen.PeerFIN:
			b.WriteString(", receive until the server closes")
			return b.String()
		case loadgen.Match:
			fmt.Fprintf(&b, ", receive until %q", l.Response.Pattern)
		}
	}
	if l.Beat != nil {
		fmt.Fprintf(&b, ", %s every %v", beatWords[l.Beat.Design], l.Beat.Every)
	}
	if l.CloseBy == wire.Never {
		b.WriteString(", client closes by FIN and the server never does")
		return b.String()
	}
	fmt.Fprintf(&b, ", %s closes by %s", l.CloseBy, strings.ToUpper(l.CloseHow.String()))
	if l.CloseWait {
		b.WriteString(" and waits for the server's")
	}
	return b.String()
}

// ranges writes a list of addresses as its runs of neighbours.
func ranges(sources pace.Sources) []string {
	out := []string{}
	for i := 0; i < len(sources); {
		first := i
		for i++; i < len(sources) && sources[i-1].Next() == sources[i]; i++ {
		}
		if text := sources[first].String(); i-first > 1 {
			out = append(out, text+"-"+sources[i-1].String())
		} else {
			out = append(out, text)
		}
	}
	return out
}

// local tells whether every target is an address of this host, so that client and server
// share its processors.
func local(targets []netip.AddrPort) bool {
	var own []netip.Addr
	interfaces, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range interfaces {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			own = append(own, p.Addr())
		}
	}
	for _, t := range targets {
		a := t.Addr().Unmap()
		if !a.IsLoopback() && !slices.Contains(own, a) {
			return false
		}
	}
	return true
}

// beatsBetween are those that a server has counted between two samples.
func beatsBetween(from, to *ServerUsage) (b metrics.Beats) {
	if from == nil || to == nil || to.Server.Beats == nil {
		return b
	}
	if from.Server.Beats != nil {
		b = *from.Server.Beats
	}
	return to.Server.Beats.Since(b)
}

// cpuOf is the processor time of a server between two samples, in nanoseconds.
func cpuOf(from, to *ServerUsage) int64 {
	if from == nil || to == nil {
		return 0
	}
	return to.UserNS + to.SystemNS - from.UserNS - from.SystemNS
}

// asked is what a connection says, for the sentence of a lifecycle.
func asked(l *loadgen.Lifecycle) string {
	var b strings.Builder
	if h := l.Hello; h != nil {
		if len(h.Request) > 0 {
			fmt.Fprintf(&b, ", send a hello of %d B", len(h.Request))
		}
		fmt.Fprintf(&b, ", wait for %s", quoted(h.Response))
	}
	least, most := len(l.Request), len(l.Request)
	for _, t := range l.Rotation {
		least, most = min(least, len(t.Text)), max(most, len(t.Text))
	}
	switch {
	case most == 0:
	case least < most:
		fmt.Fprintf(&b, ", send %d to %d B", least, most)
	default:
		fmt.Fprintf(&b, ", send %d B", most)
	}
	if n := len(l.Rotation); n > 1 {
		fmt.Fprintf(&b, " (%d requests in rotation)", n)
	}
	return b.String()
}

func quoted(u loadgen.Until) string {
	if u.Kind == loadgen.Match {
		return fmt.Sprintf("%q", u.Pattern)
	}
	return u.String()
}
