// Package lab makes two private hosts: network namespaces with addresses and kernel settings of their
// own, and a link between them. It changes nothing on the host that it runs on.
//
// A perfect link is a veth pair. A link that loses, delays or holds packets, or may begin to do so,
// leads through a third namespace, in which a forwarder copies frames between two packet sockets. It
// needs no device node, no packet filter and no privilege but those in the namespaces.
//
// A lab has no name anywhere. It exists as long as its files and processes; then the kernel removes
// it, however they ended.
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
	Link           Link
	// ToServer and ToClient are the gates of a gated link, or nil.
	ToServer, ToClient *Gate

	between   *Host      // the namespace in the middle of a carried link, or nil
	forwarder *forwarder // nil if the kernel carries the packets
}

// New makes a lab. It needs CAP_SYS_ADMIN, CAP_NET_ADMIN and CAP_NET_RAW, which probe.Own gives to
// every user if the kernel allows it. A *probe.Failure says what this machine refused.
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

// Close ends the link and closes the namespaces. The kernel removes them when the last process in
// them has ended.
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

// Remains watches how the kernel removes the hosts. Call it before Close, and close it.
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
		// So the link counts, loses and holds packets of the run only.
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

// pairIndex is the index of one device of a pair. Its peer in another namespace must have another: the
// kernel takes two devices with the same index for one and its own lower layer, and waits up to a
// second before it lets them send (linkwatch_urgent_event).
const pairIndex = 1000

// addPair adds a pair of devices; the peer is in another namespace.
func addPair(n *netlink.Handle, name, peer string, in *namespace.Network) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.Index = name, pairIndex
	pair := &netlink.Veth{LinkAttrs: attrs, PeerName: peer, PeerNamespace: netlink.NsFd(in.Fd())}
	if err := n.LinkAdd(pair); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// Record writes all packets of the client's end of the link from now on. end writes the packets that
// have passed, and stops.
func (l *Lab) Record(c *pcap.Capture) (end func() error, err error) {
	err = l.Client.Do(func() error {
		end, err = c.Record(clientDevice)
		return err
	})
	return end, err
}
