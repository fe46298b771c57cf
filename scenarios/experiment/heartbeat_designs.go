package experiment

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/metrics"
	"tcpbench/scenarios/experiment/bench"
)

// mayMiss is how many beats in a row may be missed.
const mayMiss = 3

// design says who sends beats, whether they are answered, and who gives up after silence.
type design struct {
	name    string
	pings   bench.Side
	answers bool
	judges  [2]bool
}

var designs = []*design{
	{"answered", client, true, [2]bool{client: true}}, // to a server that answers, silence is a quiet client
	{"heard", client, false, [2]bool{server: true}},
	{"pinged", server, true, [2]bool{true, true}},
}

// What happens to a peer. On loopback nothing can happen to addresses and links.
const (
	killed    = "killed"
	stopped   = "stopped"
	addressed = "address_lost"
	cut       = "link_cut"
)

var (
	faults           = []string{killed, stopped, addressed, cut}
	faultsOnLoopback = faults[:2]
	bothSides        = []bench.Side{client, server}
)

// noticed is the name of a fact.
func (d *design) noticed(fault string, by bench.Side) string {
	return fmt.Sprintf("%s_%s_%s", d.name, fault, by)
}

// heartbeatFacts are how long each side took to notice each fault, with each design.
func heartbeatFacts(faults []string) []bench.Fact {
	all := []bench.Fact{
		duration("interval", "time between two beats"),
		duration("soonest", "predicted: the last beat came up to an interval before the fault, so one interval less of silence than may be missed"),
		duration("latest", "predicted: as many intervals of silence as may be missed"),
		bench.Stalled,
	}
	for _, d := range designs {
		for _, f := range faults {
			for _, by := range bothSides {
				all = append(all, duration(d.noticed(f, by), fmt.Sprintf("how long after the fault the %s noticed; 0 if it did not", by)))
			}
		}
	}
	return all
}

// Each design meets each fault at each end, on connections side by side.
var heartbeatDesigns = &Experiment{
	Name:       "heartbeat-designs",
	Facts:      heartbeatFacts(faults),
	Interval:   250 * time.Millisecond,
	do:         func(b *bench.Bench) { heartbeats(b, faults) },
	onLoopback: &story{heartbeatFacts(faultsOnLoopback), func(b *bench.Bench) { heartbeats(b, faultsOnLoopback) }},
}

// party is an application at one end of a connection.
type party struct {
	*bench.Socket
	pings, answers, judges bool
	every                  time.Duration // between two beats
	still                  bool          // it does nothing any more
	next, heard, noticed   time.Time
}

// turn does what an application does when it has the processor.
func (p *party) turn(now time.Time) {
	if !p.still && p.Ready(unix.POLLIN) {
		n, end, _ := p.Receive()
		if n > 0 {
			p.heard = now
			if p.answers {
				p.beat()
			}
		}
		if end {
			p.giveUp()
		}
	}
	if !p.still && p.pings && !now.Before(p.next) {
		p.beat()
		p.next = p.next.Add(p.every)
	}
	if !p.still && p.judges && now.Sub(p.heard) > mayMiss*p.every {
		p.giveUp()
	}
}

// beat sends a byte.
func (p *party) beat() {
	if _, err := p.Write(1); err != nil && !errors.Is(err, unix.EAGAIN) {
		p.giveUp()
	}
}

// giveUp records that the application has noticed a dead peer, and ends its part.
func (p *party) giveUp() { p.noticed, p.still = time.Now(), true }

// pulsing is a connection with heartbeats, and what happens to one of its ends, or to its link.
type pulsing struct {
	*design
	fault  string
	victim bench.Side
	ends   [2]*party
	struck time.Time
}

// heartbeats beats on a connection for each case, until each end has had the time to notice.
func heartbeats(b *bench.Bench, faults []string) {
	b.Silent, b.Blind = true, true
	every := b.Interval
	usual := b.Socket(server)
	usual.ListenAt(b.Address(server, 0), 64)
	var lost [2]netip.Addr // the addresses that the hosts will lose
	var own netip.Addr     // the client's that stays: with two of IPv6 the kernel would choose either
	other := usual         // listens at the server's that is lost
	if slices.Contains(faults, addressed) {
		own = b.Address(client, 0).Addr()
		for _, of := range bothSides {
			var err error
			lost[of], err = b.Lab.Alias(b.Host(of), b.IPv6)
			b.Check(err, "give the "+of.String()+" another address")
		}
		other = b.Socket(server)
		other.ListenAt(netip.AddrPortFrom(lost[server], 0), 64)
	}
	var all []*pulsing
	for _, d := range designs {
		for _, f := range faults {
			for _, victim := range bothSides {
				listener, from := usual, own
				switch {
				case f == addressed && victim == server:
					listener = other
				case f == addressed:
					from = lost[client]
				}
				all = append(all, connectPulsing(b, &pulsing{design: d, fault: f, victim: victim}, listener, from))
			}
		}
	}
	b.Remark("%d connections with a beat every %v, of which %d in a row may be missed", len(all), every, mayMiss)
	began := time.Now()
	for _, c := range all {
		for _, p := range c.ends {
			p.next, p.heard = began, began
		}
	}
	fault, end := began.Add(5*every/2), began.Add(5*every/2+(mayMiss+2)*every)
	struck := false
	last, pause := time.Now(), time.Duration(0)
	b.Happens(time.Until(end)+bench.Patience, func() bool {
		now := time.Now()
		last, pause = now, max(pause, now.Sub(last)) // in a pause no application acts
		if !struck && now.After(fault) {
			struck = true
			strike(b, all, lost)
		}
		for _, c := range all {
			c.ends[client].turn(now)
			c.ends[server].turn(now)
		}
		return now.After(end)
	})
	b.Fact(bench.Stalled.Name, max(b.Stalled(), pause))
	b.Fact("interval", every)
	b.Fact("soonest", (mayMiss-1)*every)
	b.Fact("latest", mayMiss*every)
	tabulate(b, all)
}

// connectPulsing makes one of the connections.
func connectPulsing(b *bench.Bench, p *pulsing, l *bench.Socket, from netip.Addr) *pulsing {
	c := b.Socket(client)
	if from.IsValid() {
		b.Check(c.BindTo(netip.AddrPortFrom(from, 0)), "bind")
	}
	b.Check(c.ConnectTo(l.Local()), "connect")
	for _, end := range []*bench.Socket{c, c.Meet(l)} {
		p.ends[end.Side] = &party{Socket: end, pings: p.pings == end.Side, answers: p.answers && p.pings != end.Side, judges: p.judges[end.Side], every: b.Interval}
	}
	return p
}

// strike lets the faults happen, those that take the longest first.
func strike(b *bench.Bench, all []*pulsing, lost [2]netip.Addr) {
	var ports []uint16 // of connections whose link is lost
	for _, c := range all {
		c.struck = time.Now()
		if c.fault == cut {
			ports = append(ports, c.ends[client].Connection())
		}
	}
	if b.Lab != nil {
		b.Remark("processes are killed or stopped, addresses and links are lost")
		for _, of := range bothSides {
			b.Lose(of, bench.Any.Of(ports...))
			b.Check(b.Host(of).Lose(lost[of]), "take an address from the "+of.String())
		}
	} else {
		b.Remark("processes are killed or stopped")
	}
	for _, c := range all {
		if c.fault == killed || c.fault == stopped {
			c.struck, c.ends[c.victim].still = time.Now(), true
		}
		if c.fault == killed { // the kernel closes a killed process's sockets; for a stopped one it still sends ACKs
			c.ends[c.victim].Drop()
		}
	}
}

// tabulate finds how long each end took to notice, and makes a table of it.
func tabulate(b *bench.Bench, all []*pulsing) {
	every := b.Interval
	word := func(s string) metrics.Value { return metrics.Value{Unit: metrics.Text, Text: s} }
	t := &metrics.Table{Head: []string{"", "client notices", "predicted", "server notices", "predicted"}}
	for i := 0; i < len(all); i += 2 { // the client is the victim of one, the server of the next
		c := all[i]
		row := metrics.TableRow{Name: c.name + ", " + c.fault}
		for _, by := range bothSides {
			c := all[i+int(by.Other())]
			after, cell, predicted := time.Duration(0), word("no"), word("no")
			if at := c.ends[by].noticed; !at.IsZero() {
				after = at.Sub(c.struck)
				cell = metrics.Value{Value: float64(after), Unit: metrics.Nanoseconds}
			}
			b.Fact(c.noticed(c.fault, by), after)
			switch {
			case c.fault == killed:
				predicted = word("at once")
			case c.judges[by]:
				predicted = word(fmt.Sprintf("%d–%d ms", ((mayMiss - 1) * every).Milliseconds(), (mayMiss * every).Milliseconds()))
			}
			row.Cells = append(row.Cells, cell, predicted)
		}
		t.Rows = append(t.Rows, row)
	}
	b.Table = t
}
