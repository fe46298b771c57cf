package experiment

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"tcpbench/internal/segment"
	"tcpbench/metrics"
)

// mayMiss is how many beats in a row may be missed.
const mayMiss = 3

// design says who sends beats, whether they are answered, and who gives up after silence.
type design struct {
	name    string
	pings   side
	answers bool
	judges  [2]bool
}

var designs = []design{
	{"answered", client, true, [2]bool{client: true}}, // a server that answers takes silence for a quiet client
	{"heard", client, false, [2]bool{server: true}},
	{"pinged", server, true, [2]bool{true, true}},
}

// What happens to a peer. On loopback nothing can be done to addresses and links.
const (
	killed    = "killed"
	stopped   = "stopped"
	addressed = "address_lost"
	cut       = "link_cut"
)

var (
	faults           = []string{killed, stopped, addressed, cut}
	faultsOnLoopback = faults[:2]
)

// noticed is the name of a fact.
func (d *design) noticed(fault string, by side) string {
	return fmt.Sprintf("%s_%s_%s", d.name, fault, by)
}

// heartbeatFacts are how long each side took to notice each fault, with each design.
func heartbeatFacts(faults []string) []Fact {
	all := []Fact{
		{"interval", Time, "time between two beats"},
		{"soonest", Time, "predicted: a beat came up to an interval before the fault, so one less of silence than may be missed"},
		{"latest", Time, "predicted: as many intervals of silence as may be missed"},
		stalled,
	}
	for _, d := range designs {
		for _, f := range faults {
			for _, by := range []side{client, server} {
				all = append(all, Fact{d.noticed(f, by), Time, fmt.Sprintf("how long after the fault the %s noticed; 0 if it did not", by)})
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
	do:         func(b *bench) { b.heartbeats(faults) },
	onLoopback: &story{facts: heartbeatFacts(faultsOnLoopback), do: func(b *bench) { b.heartbeats(faultsOnLoopback) }},
}

// party is an application at one end of a connection.
type party struct {
	*socket
	pings, answers, judges bool
	every                  time.Duration // between two beats
	still                  bool          // it does nothing any more
	next, heard, noticed   time.Time
}

// turn does what an application does when it has the processor.
func (p *party) turn(now time.Time) {
	if p.still {
		return
	}
	var buffer [64]byte
	for !p.still && p.ready(unix.POLLIN) {
		n, err := unix.Read(p.fd, buffer[:])
		switch {
		case errors.Is(err, unix.EAGAIN):
		case n <= 0:
			p.giveUp()
		default:
			p.heard = now
			if p.answers {
				p.beat()
			}
		}
	}
	if p.pings && !now.Before(p.next) {
		p.beat()
		p.next = p.next.Add(p.every)
	}
	if p.judges && now.Sub(p.heard) > mayMiss*p.every {
		p.giveUp()
	}
}

// beat sends a byte.
func (p *party) beat() {
	if _, err := unix.SendmsgN(p.fd, []byte{1}, nil, nil, unix.MSG_NOSIGNAL); err != nil && !errors.Is(err, unix.EAGAIN) {
		p.giveUp()
	}
}

// giveUp notes that the application has noticed a dead peer, and ends its part.
func (p *party) giveUp() { p.noticed, p.still = time.Now(), true }

// pulsing is a connection with heartbeats, and what happens to one of its ends, or to its link.
type pulsing struct {
	*design
	fault  string
	victim side
	ends   [2]*party
	struck time.Time
}

// heartbeats beats on a connection for each case, until each end has had the time to notice.
func (b *bench) heartbeats(faults []string) {
	b.silent, b.blind = true, true
	every := b.experiment.Interval
	usual := b.listen(0, 64)
	var lost [2]netip.Addr // the addresses that the hosts will lose
	var own netip.Addr     // the client's that stays; of two of IPv6 the kernel would choose either
	other := usual         // listens at the server's that is lost
	if slices.Contains(faults, addressed) {
		own, lost = b.addrOf(b.host(client)), b.aliases()
		other = b.socket(server)
		b.check(unix.Bind(other.fd, sockaddr(netip.AddrPortFrom(lost[server], 0))), "bind")
		b.check(unix.Listen(other.fd, 64), "listen")
	}
	var all []*pulsing
	for i := range designs {
		for _, f := range faults {
			for _, victim := range []side{client, server} {
				listener, from := usual, own
				switch {
				case f == addressed && victim == server:
					listener = other
				case f == addressed:
					from = lost[client]
				}
				all = append(all, b.pulsing(&designs[i], f, victim, listener, from))
			}
		}
	}
	b.remark("%d connections with a beat every %v, of which %d in a row may be missed", len(all), every, mayMiss)
	began := time.Now()
	for _, c := range all {
		for _, p := range c.ends {
			p.next, p.heard = began, began
		}
	}
	fault, end := began.Add(5*every/2), began.Add(5*every/2+(mayMiss+2)*every)
	struck := false
	last, pause := time.Now(), time.Duration(0)
	b.happens(time.Until(end)+patience, func() bool {
		now := time.Now()
		last, pause = now, max(pause, now.Sub(last)) // nobody beats, and nobody looks
		if !struck && now.After(fault) {
			struck = true
			b.strike(all, lost)
		}
		for _, c := range all {
			c.ends[client].turn(now)
			c.ends[server].turn(now)
		}
		return now.After(end)
	})
	b.took(stalled.Name, max(b.pulse.missed(), pause))
	b.tellHeartbeats(all, faults)
}

// pulsing makes one of the connections.
func (b *bench) pulsing(d *design, fault string, victim side, l *socket, from netip.Addr) *pulsing {
	c := b.socket(client)
	if from.IsValid() {
		b.check(unix.Bind(c.fd, sockaddr(netip.AddrPortFrom(from, 0))), "bind")
	}
	b.check(c.connectTo(l.local()), "connect")
	c.awaitConnection()
	var s *socket
	b.await("accept()", func() (ok bool) {
		s, ok = l.accept()
		return ok
	})
	p := &pulsing{design: d, fault: fault, victim: victim}
	for side, end := range []*socket{c, s} {
		p.ends[side] = &party{socket: end, pings: d.pings == end.side, answers: d.answers && d.pings != end.side, judges: d.judges[side], every: b.experiment.Interval}
	}
	return p
}

// strike lets the faults happen, those first that take the longest.
func (b *bench) strike(all []*pulsing, lost [2]netip.Addr) {
	ports := map[uint16]bool{}
	for _, c := range all {
		c.struck = time.Now()
		if c.fault == cut {
			ports[c.ends[client].local().Port()] = true
		}
	}
	if b.lab != nil {
		b.remark("processes are killed or stopped, addresses and links are lost")
		for _, of := range []side{client, server} {
			b.lose(of, func(s *segment.Segment) bool { return ports[s.Source.Port()] || ports[s.Dest.Port()] })
			b.check(b.host(of).Lose(lost[of]), "take an address from the "+of.String())
		}
	} else {
		b.remark("processes are killed or stopped")
	}
	for _, c := range all {
		victim := c.ends[c.victim]
		switch c.fault {
		case killed: // the kernel closes the sockets of a process that is killed
			c.struck, victim.still = time.Now(), true
			victim.drop()
		case stopped: // and goes on to acknowledge for one that is stopped
			c.struck, victim.still = time.Now(), true
		}
	}
}

// aliases gives each host an address more.
func (b *bench) aliases() (all [2]netip.Addr) {
	for _, of := range []side{client, server} {
		var err error
		all[of], err = b.lab.Alias(b.host(of), b.experiment.ipv6)
		b.check(err, "give the "+of.String()+" another address")
	}
	return all
}

// tellHeartbeats comes to the facts, and to a table of them.
func (b *bench) tellHeartbeats(all []*pulsing, faults []string) {
	every := b.experiment.Interval
	b.took("interval", every)
	b.took("soonest", (mayMiss-1)*every)
	b.took("latest", mayMiss*every)
	word := func(text string) metrics.Value { return metrics.Value{Unit: Text, Text: text} }
	t := &metrics.Table{Head: []string{"", "client notices", "predicted", "server notices", "predicted"}}
	for i := range designs {
		d := &designs[i]
		for _, f := range faults {
			row := metrics.TableRow{Name: d.name + ", " + f}
			for _, by := range []side{client, server} {
				c := all[slices.IndexFunc(all, func(c *pulsing) bool { return c.design == d && c.fault == f && c.victim == by.other() })]
				after, cell := time.Duration(0), word("no")
				if at := c.ends[by].noticed; !at.IsZero() {
					after = at.Sub(c.struck)
					cell = metrics.Value{Value: float64(after), Unit: Time}
				}
				b.took(d.noticed(f, by), after)
				predicted := word("no")
				switch {
				case f == killed:
					predicted = word("at once")
				case d.judges[by]:
					predicted = word(fmt.Sprintf("%d–%d ms", ((mayMiss - 1) * every).Milliseconds(), (mayMiss * every).Milliseconds()))
				}
				row.Cells = append(row.Cells, cell, predicted)
			}
			t.Rows = append(t.Rows, row)
		}
	}
	b.table = t
}
