// Package lab makes a private pair of hosts: two network namespaces with a link between
// them, addresses, and kernel settings of their own, while the host that it runs on stays
// as it is.
//
// A perfect link is a veth pair. A link that loses, delays, holds or may begin to do so has a
// third namespace in its middle, where two packet sockets and a forwarder of this package
// copy frames from one host to the other. It needs no device node, no packet filter and no
// privilege beyond that of the namespaces.
//
// A lab has no name anywhere: it lives in open files and processes, and when these are
// gone, however they went, the kernel takes it away.
package lab

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"

	"tcpbench/internal/namespace"
	"tcpbench/internal/pcap"
	"tcpbench/internal/probe"
)

// Lab is a pair of hosts that reach each other and nobody else.
type Lab struct {
	Client, Server *Host
	// Link is what becomes of packets between them.
	Link Link
	// ToServer and ToClient are the gates of a gated link, else nil.
	ToServer, ToClient *Gate

	between   *Host      // the namespace in the middle of a carried link, else nil
	forwarder *forwarder // nil if the kernel carries the packets
}

// New makes a lab. It needs CAP_SYS_ADMIN and CAP_NET_ADMIN, which Own gives to everybody
// where the kernel allows that. A *probe.Failure says what this machine refused.
func New(link Link) (*Lab, error) {
	l := unbuilt(link)
	err := l.found()
	if err == nil {
		err = l.build()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a lab: %w", err), l.Close())
	}
	return l, nil
}

func unbuilt(link Link) *Lab {
	l := &Lab{
		Link:   link,
		Client: &Host{Name: "client", V4: clientV4.Addr(), V6: clientV6.Addr()},
		Server: &Host{Name: "server", V4: serverV4.Addr(), V6: serverV6.Addr()},
	}
	for a := firstSource; len(l.Client.Sources) < sourceCount; a = a.Next() {
		l.Client.Sources = append(l.Client.Sources, a)
	}
	if link.carried() {
		l.between = &Host{Name: "link"}
	}
	return l
}

func (l *Lab) hosts() []*Host {
	all := []*Host{l.Client, l.Server}
	if l.between != nil {
		all = append(all, l.between)
	}
	return all
}

// found makes the namespaces.
func (l *Lab) found() error {
	parent, err := tables()
	if err != nil {
		return probe.Refused(probe.StepNamespace, err)
	}
	defer parent.Close()
	for _, h := range l.hosts() {
		if h.Network, err = namespace.New("of the lab's "+h.Name, parent); err != nil {
			return probe.Refused(probe.StepNamespace, err)
		}
	}
	return nil
}

// build links the hosts and gives them their addresses.
func (l *Lab) build() error {
	client, err := l.Client.handle()
	if err != nil {
		return err
	}
	defer client.Close()
	server, err := l.Server.handle()
	if err != nil {
		return err
	}
	defer server.Close()
	var between *netlink.Handle // nil if the kernel carries the packets
	if l.between != nil {
		if between, err = l.between.handle(); err != nil {
			return err
		}
		defer between.Close()
	}
	if err := l.lay(client, server, between); err != nil {
		return fmt.Errorf("link the hosts: %w", err)
	}
	if err := l.settle(client, server); err != nil {
		return probe.Refused(probe.StepAddress, err)
	}
	if err := l.bound(client, server); err != nil {
		return probe.Refused(probe.StepRate, err)
	}
	if err := awaitCarrier(client, server, between); err != nil {
		return probe.Refused(probe.StepDevice, err)
	}
	if l.forwarder != nil {
		l.forwarder.start()
	}
	return nil
}

// Close ends the lab's link and lets go of its namespaces. The kernel takes these away when
// the last process in them has ended.
func (l *Lab) Close() error {
	var errs []error
	if l.forwarder != nil {
		errs = append(errs, l.forwarder.close())
		l.forwarder = nil
	}
	for _, h := range l.hosts() {
		if h.Network != nil {
			errs = append(errs, h.Network.Close())
		}
	}
	return errors.Join(errs...)
}

// Remains watches the lab's end. Call it before Close; the caller closes it.
func (l *Lab) Remains() (*namespace.Remains, error) {
	return namespace.Watch(l.Client.Network, l.Server.Network)
}

// The names of the devices, each of its host.
const (
	clientDevice = "lab-c"
	serverDevice = "lab-s"
)

// lay connects the hosts, through the namespace in the middle if packets are carried.
func (l *Lab) lay(client, server, between *netlink.Handle) error {
	if l.between == nil {
		return probe.Refused(probe.StepDevice, addPair(client, clientDevice, serverDevice, l.Server.Network))
	}
	l.forwarder = newForwarder(&l.Link)
	for _, end := range []struct {
		host   *Host
		handle *netlink.Handle
		device string
		port   **port
	}{
		{l.Client, client, clientDevice, &l.forwarder.client}, {l.Server, server, serverDevice, &l.forwarder.server},
	} {
		if err := addPair(end.handle, end.device, end.device, l.between.Network); err != nil {
			return probe.Refused(probe.StepDevice, err)
		}
		// Neither end says anything of its own, so what the link counts, loses and holds are the
		// packets of the run.
		if err := errors.Join(quiet(end.handle, end.device), quiet(between, end.device)); err != nil {
			return probe.Refused(probe.StepDevice, err)
		}
		if err := up(between, end.device); err != nil {
			return probe.Refused(probe.StepDevice, err)
		}
		for _, h := range []*Host{end.host, l.between} {
			if err := h.Do(func() error { return offloadsOff(end.device) }); err != nil {
				return probe.Refused(probe.StepOffloads, err)
			}
		}
		if err := l.between.Do(func() (err error) {
			*end.port, err = openPort(end.device)
			return err
		}); err != nil {
			return err
		}
	}
	if l.Link.Gated {
		l.ToServer, l.ToClient = l.forwarder.gates()
	}
	return nil
}

// pairIndex is the index of one device of a pair. Its peer in another namespace has another:
// the kernel takes devices with the same for one and its own lower layer, and lets up to a
// second pass before it makes them send (linkwatch_urgent_event).
const pairIndex = 1000

// addPair adds a pair of devices, whose peer lies in a namespace.
func addPair(n *netlink.Handle, name, peer string, in *namespace.Network) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Index = name, pairIndex
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: peer, PeerNamespace: netlink.NsFd(in.Fd())}
	if err := n.LinkAdd(pair); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// Record has all packets of the lab's link written from now on, as the client's end has them.
// The function that it returns ends that, when those that have passed are written.
func (l *Lab) Record(c *pcap.Capture) (end func() error, err error) {
	err = l.Client.Do(func() error {
		end, err = c.Record(clientDevice)
		return err
	})
	return end, err
}
