package lab

import (
	"errors"
	"fmt"
	"math"

	"github.com/vishvananda/netlink"
)

// Link says what happens to packets between the hosts, in each direction.
type Link struct {
	ToServer, ToClient Impairment
	Gated              bool // there is a Gate in each direction
	Changes            bool // Impair will be called, so the forwarder carries packets from the start
	// Sequences makes a carried link follow sequence numbers: Carried.Sequences.
	Sequences bool
	// Seed, with that of the Impairment, decides which packets are lost at random and how delays
	// differ. Links with the same seeds lose the same packets of the same sequence.
	Seed uint64
}

// carried tells whether the forwarder carries the packets. If not, a veth pair does, two to three
// times as fast.
func (l *Link) carried() bool {
	return l.Gated || l.Changes || l.ToServer.carried() || l.ToClient.carried()
}

func (i *Impairment) carried() bool { return i.Filters() || i.Delay > 0 }

// bound bounds the rate at which each host sends.
func (l *Lab) bound(client, server *netlink.Handle) error {
	for _, d := range []struct {
		how    *Impairment
		sender *netlink.Handle
		device string
	}{{&l.Link.ToServer, client, clientDevice}, {&l.Link.ToClient, server, serverDevice}} {
		if d.how.Rate == 0 {
			continue
		}
		device, err := find(d.sender, d.device)
		if err != nil {
			return err
		}
		if err := shape(d.sender, device, d.how.Rate); err != nil {
			return err
		}
	}
	return nil
}

// shape bounds the rate at which a device sends: a token bucket of 10 ms and a queue of 100 ms
// (tc-tbf(8)).
func shape(n *netlink.Handle, device netlink.Link, rate uint64) error {
	bytes := rate / 8
	bucket := max(bytes/100, 5*1514)
	limit := bucket + max(bytes/10, 20*1514)
	err := n.QdiscAdd(&netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: device.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
		Rate:       bytes, Limit: uint32(min(limit, math.MaxUint32)),
		Buffer: netlink.Xmittime(bytes, uint32(min(bucket, math.MaxUint32))),
	})
	if err != nil {
		return fmt.Errorf("%s: add a token bucket (does this kernel have sch_tbf?): %w", device.Attrs().Name, err)
	}
	return nil
}

// ErrFixed means that a link cannot change, because the kernel carries its packets.
var ErrFixed = errors.New("the link was made as one that does not change")

// Impair changes which packets are lost from now on, in the directions that are not nil. It does not
// change delay and rate.
func (l *Lab) Impair(toServer, toClient *Impairment) error {
	if l.forwarder == nil {
		return ErrFixed
	}
	for _, d := range []struct {
		how  *Impairment
		wire *wire
	}{{toServer, l.forwarder.toServer}, {toClient, l.forwarder.toClient}} {
		if d.how != nil {
			d.wire.impair(d.how)
		}
	}
	return nil
}

// Broken gets an error if the link fails and stops carrying packets, which would otherwise look like a
// peer that does not answer. It is nil if the kernel carries the packets.
func (l *Lab) Broken() <-chan error {
	if l.forwarder == nil {
		return nil
	}
	return l.forwarder.broken
}

// Carried tells what happened to the packets in both directions. Both are zero if the kernel carries
// them, and after Close.
func (l *Lab) Carried() (toServer, toClient Carried, err error) {
	if l.forwarder == nil {
		return Carried{}, Carried{}, nil
	}
	if toServer, err = l.forwarder.toServer.carried(); err == nil {
		toClient, err = l.forwarder.toClient.carried()
	}
	return toServer, toClient, err
}
