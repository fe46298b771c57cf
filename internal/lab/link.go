package lab

import (
	"fmt"
	"math"
	"time"

	"github.com/vishvananda/netlink"

	"tcpbench/metrics"
)

// Link is the two directions of the link between the hosts.
type Link struct {
	ToServer, ToClient Impairment
	// Gated links have a Gate in each direction.
	Gated bool
}

func (l *Link) delayed() bool { return l.ToServer.Delay > 0 || l.ToClient.Delay > 0 }

// layWires links the hosts by TUN devices, and begins to carry packets.
func (l *Lab) layWires() error {
	for _, end := range []struct {
		host *Host
		name string
	}{{l.Client, clientDevice}, {l.Server, serverDevice}} {
		d, err := end.host.openTUN(end.name)
		if err != nil {
			return err
		}
		l.devices = append(l.devices, d)
	}
	l.toServer = newWire(l.devices[0], l.devices[1], &l.Link.ToServer, l.ended)
	l.toClient = newWire(l.devices[1], l.devices[0], &l.Link.ToClient, l.ended)
	if l.Link.Gated {
		l.ToServer, l.ToClient = newGate(l.toServer), newGate(l.toClient)
	}
	for _, w := range []*wire{l.toServer, l.toClient} {
		l.carrying.Go(w.take)
		l.carrying.Go(w.give)
	}
	return nil
}

// impair makes the link as bad as it is to be.
func (l *Lab) impair(client, server *netlink.Handle) error {
	for _, d := range []struct {
		how      *Impairment
		sender   *netlink.Handle
		device   string
		receiver *Host
	}{{&l.Link.ToServer, client, clientDevice, l.Server}, {&l.Link.ToClient, server, serverDevice, l.Client}} {
		if d.how.Filters() {
			if err := d.receiver.lose(d.how); err != nil {
				return err
			}
			d.receiver.filtered = true
		}
		device, err := d.sender.LinkByName(d.device)
		if err != nil {
			return err
		}
		parent := uint32(netlink.HANDLE_ROOT)
		if d.how.Delay > 0 && l.toServer == nil {
			if err := delay(d.sender, device, d.how); err != nil {
				return err
			}
			parent = netlink.MakeHandle(delayHandle, 1) // the delay's own queue
		}
		if d.how.Rate > 0 {
			if err := shape(d.sender, device, parent, d.how.Rate); err != nil {
				return err
			}
		}
	}
	return nil
}

// The disciplines of a device, by their major numbers.
const (
	delayHandle = 1
	shapeHandle = 2
)

// hasNetem tells whether the kernel itself can delay packets: it is asked to, on a device of
// the host that carries nothing. Many kernels are built without.
func hasNetem(n *netlink.Handle) bool {
	lo, err := n.LinkByName("lo")
	if err != nil {
		return false
	}
	probe := netem(lo, &Impairment{Delay: time.Millisecond})
	if err := n.QdiscAdd(probe); err != nil {
		return false
	}
	return n.QdiscDel(probe) == nil
}

// unbounded is a rate in bytes per second that delays nobody. Given one, netem keeps packets in
// their order whatever their jitter (netem_enqueue).
const unbounded = 1 << 40

// netem is a discipline that delays what leaves by a device (tc-netem(8)): by Delay, and up
// to Jitter more.
func netem(device netlink.Link, i *Impairment) *netlink.Netem {
	spread := i.Jitter / 2 // to either side of the mean
	q := netlink.NetemQdiscAttrs{Latency: uint32((i.Delay + spread).Microseconds()), Limit: mostQueued}
	if spread > 0 {
		q.Jitter, q.Rate64 = uint32(spread.Microseconds()), unbounded
	}
	return netlink.NewNetem(netlink.QdiscAttrs{
		LinkIndex: device.Attrs().Index, Handle: netlink.MakeHandle(delayHandle, 0), Parent: netlink.HANDLE_ROOT,
	}, q)
}

func delay(n *netlink.Handle, device netlink.Link, i *Impairment) error {
	if err := n.QdiscAdd(netem(device, i)); err != nil {
		return fmt.Errorf("delay packets by sch_netem: %w", err)
	}
	return nil
}

// overflows is how many packets a device's delay has lost for want of room.
func (h *Host) overflows(device string) (n uint64, err error) {
	err = h.Do(func() error {
		link, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		all, err := netlink.QdiscList(link)
		if err != nil {
			return err
		}
		for _, q := range all {
			if s := q.Attrs().Statistics; q.Type() == "netem" && s != nil && s.Queue != nil {
				n += uint64(s.Queue.Drops)
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("ask what %s has lost: %w", device, err)
	}
	return n, nil
}

// shape bounds the rate of what leaves by a device: a token bucket that holds a hundredth
// of a second, and a queue of a tenth (tc-tbf(8)).
func shape(n *netlink.Handle, device netlink.Link, parent uint32, rate uint64) error {
	bytes := rate / 8
	bucket := max(bytes/100, 5*1514)
	limit := bucket + max(bytes/10, 20*1514)
	err := n.QdiscAdd(&netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: device.Attrs().Index, Handle: netlink.MakeHandle(shapeHandle, 0), Parent: parent},
		Rate:       bytes, Limit: uint32(min(limit, math.MaxUint32)),
		Buffer: netlink.Xmittime(bytes, uint32(min(bucket, math.MaxUint32))),
	})
	if err != nil {
		return fmt.Errorf("bound the rate (does this kernel have sch_tbf?): %w", err)
	}
	return nil
}

// Impair changes which packets are lost from now on, in the directions that are not nil. Delay
// and rate stay as they were.
func (l *Lab) Impair(toServer, toClient *Impairment) error {
	for _, d := range []struct {
		how      *Impairment
		receiver *Host
	}{{toServer, l.Server}, {toClient, l.Client}} {
		if d.how == nil {
			continue
		}
		if d.receiver.filtered {
			n, err := d.receiver.lost()
			if err != nil {
				return err
			}
			d.receiver.lostBefore += n
		}
		if err := d.receiver.lose(d.how); err != nil {
			return err
		}
		d.receiver.filtered = true
	}
	return nil
}

// Carried is what became of the packets of one direction.
type Carried struct {
	// Lost is how many were lost on purpose, Overflows how many for want of room.
	Lost, Overflows uint64
	// Late is how far behind their time delayed packets were; nil where none was, and where
	// the kernel delays them, which does not tell.
	Late *metrics.Histogram
	// Netem tells that the kernel delays them.
	Netem bool
}

// Carried tells of both directions.
func (l *Lab) Carried() (toServer, toClient Carried, err error) {
	for _, d := range []struct {
		how              *Impairment
		sender, receiver *Host
		device           string
		wire             *wire
		to               *Carried
	}{
		{&l.Link.ToServer, l.Client, l.Server, clientDevice, l.toServer, &toServer},
		{&l.Link.ToClient, l.Server, l.Client, serverDevice, l.toClient, &toClient},
	} {
		if d.receiver.filtered {
			if d.to.Lost, err = d.receiver.lost(); err != nil {
				return toServer, toClient, err
			}
			d.to.Lost += d.receiver.lostBefore
		}
		switch {
		case d.how.Delay == 0:
		case d.wire == nil:
			d.to.Netem = true
			if d.to.Overflows, err = d.sender.overflows(d.device); err != nil {
				return toServer, toClient, err
			}
		default:
			late, err := d.wire.lateness()
			if err != nil {
				return toServer, toClient, err
			}
			d.to.Late, d.to.Overflows = &late, d.wire.overflows.Load()
		}
	}
	return toServer, toClient, nil
}
