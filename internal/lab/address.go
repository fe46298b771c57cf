package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// The network of every lab lies in 198.18.0.0/15, which is set aside for measurements (RFC
// 2544, section 12), and in a local range of IPv6 (RFC 4193).
var (
	clientV4 = netip.MustParsePrefix("198.18.0.1/16")
	serverV4 = netip.MustParsePrefix("198.18.255.1/16")
	clientV6 = netip.MustParsePrefix("fd00:18::1/64")
	serverV6 = netip.MustParsePrefix("fd00:18::ff:1/64")
	// firstSource is the first of the client's further addresses.
	firstSource = netip.MustParseAddr("198.18.1.1")
	// nobody is a block that the server sends to the client, where nobody has one of its
	// addresses: answers to them vanish.
	nobody = netip.MustParsePrefix("198.19.0.0/16")
)

const sourceCount = 254

// settle gives the hosts their addresses and introduces them to each other.
func (l *Lab) settle(client, server *netlink.Handle) error {
	c, err := l.Client.settle(client, clientDevice, clientV4, clientV6)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	s, err := l.Server.settle(server, serverDevice, serverV4, serverV6)
	if err != nil {
		return fmt.Errorf("server: %w", err)
	}
	if !l.Client.V6.IsValid() || !l.Server.V6.IsValid() {
		l.Client.V6, l.Server.V6 = netip.Addr{}, netip.Addr{}
	}
	return l.introduce(client, server, c, s)
}

// settle gives a host its addresses. It needs nothing of /proc/sys, which a container may
// only be able to read.
func (h *Host) settle(n *netlink.Handle, device string, v4, v6 netip.Prefix) (netlink.Link, error) {
	lo, err := n.LinkByName("lo")
	if err != nil {
		return nil, err
	}
	if err := n.LinkSetUp(lo); err != nil {
		return nil, err
	}
	link, err := n.LinkByName(device)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", device, err)
	}
	if err := h.settleV6(n, link, v6); err != nil {
		return nil, err
	}
	if err := n.AddrAdd(link, &netlink.Addr{IPNet: network(v4)}); err != nil {
		return nil, fmt.Errorf("address %s: %w", v4, err)
	}
	for _, a := range h.Sources {
		if err := n.AddrAdd(link, &netlink.Addr{IPNet: network(netip.PrefixFrom(a, 32))}); err != nil {
			return nil, fmt.Errorf("address %s: %w", a, err)
		}
	}
	if err := n.LinkSetUp(link); err != nil {
		return nil, fmt.Errorf("%s: %w", device, err)
	}
	return link, nil
}

// settleV6 gives a host its address of IPv6, usable at once: nobody else can have it, so
// nobody is asked (IFA_F_NODAD). There is no link-local address, and so no router is asked
// for. A kernel without IPv6 leaves the host without V6.
func (h *Host) settleV6(n *netlink.Handle, link netlink.Link, v6 netip.Prefix) error {
	err := n.LinkSetIP6AddrGenMode(link, nl.IN6_ADDR_GEN_MODE_NONE)
	if err == nil {
		err = n.AddrAdd(link, &netlink.Addr{IPNet: network(v6), Flags: unix.IFA_F_NODAD})
	}
	if withoutV6(err) {
		h.V6 = netip.Addr{}
		return nil
	}
	if err != nil {
		return fmt.Errorf("address %s: %w", v6, err)
	}
	return nil
}

// withoutV6 tells whether an error means that IPv6 is not built in, disabled at boot
// (EAFNOSUPPORT, EOPNOTSUPP), or disabled by the sysctl disable_ipv6 (EACCES).
func withoutV6(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EACCES)
}

// quiet makes a device say nothing of its own: no ARP and no neighbour discovery, and with
// these no report of multicast groups. Hosts know each other (introduce).
func quiet(n *netlink.Handle, device string) error {
	link, err := n.LinkByName(device)
	if err != nil {
		return fmt.Errorf("%s: %w", device, err)
	}
	if err := n.LinkSetIP6AddrGenMode(link, nl.IN6_ADDR_GEN_MODE_NONE); err != nil && !withoutV6(err) {
		return fmt.Errorf("%s: no link-local address: %w", device, err)
	}
	if err := n.LinkSetARPOff(link); err != nil {
		return fmt.Errorf("%s: no ARP: %w", device, err)
	}
	return nil
}

func up(n *netlink.Handle, device string) error {
	link, err := n.LinkByName(device)
	if err == nil {
		err = n.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", device, err)
	}
	return nil
}

// carrierPatience bounds the wait for devices whose peers are up.
const carrierPatience = 5 * time.Second

// awaitCarrier waits until all devices of the lab send. One whose peer came up after it gets
// its queue a moment later (net/core/link_watch.c), and drops every frame until then. Since
// Linux 6.8 the kernel makes up for that when it is asked for the device.
func awaitCarrier(client, server, between *netlink.Handle) error {
	for _, d := range []struct {
		in   *netlink.Handle
		name string
	}{{client, clientDevice}, {server, serverDevice}, {between, clientDevice}, {between, serverDevice}} {
		if d.in == nil {
			continue
		}
		for deadline := time.Now().Add(carrierPatience); ; time.Sleep(time.Millisecond) {
			link, err := d.in.LinkByName(d.name)
			if err != nil {
				return fmt.Errorf("%s: %w", d.name, err)
			}
			if link.Attrs().OperState == netlink.OperUp {
				break
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("%s: no carrier for %v, though its peer is up", d.name, carrierPatience)
			}
		}
	}
	return nil
}

// introduce tells each host the other's link address, so that no first packet waits for an
// answer to who has it, and the server the way to nobody.
func (l *Lab) introduce(client, server *netlink.Handle, c, s netlink.Link) error {
	ofServer, ofClient := []netip.Addr{l.Server.V4}, append([]netip.Addr{l.Client.V4}, l.Client.Sources...)
	if l.Server.V6.IsValid() {
		ofServer, ofClient = append(ofServer, l.Server.V6), append(ofClient, l.Client.V6)
	}
	for _, a := range ofServer {
		if err := know(client, c, a, s.Attrs().HardwareAddr); err != nil {
			return err
		}
	}
	for _, a := range ofClient {
		if err := know(server, s, a, c.Attrs().HardwareAddr); err != nil {
			return err
		}
	}
	return server.RouteAdd(&netlink.Route{LinkIndex: s.Attrs().Index, Dst: network(nobody), Gw: clientV4.Addr().AsSlice()})
}

// know tells a host the link address of another.
func know(n *netlink.Handle, device netlink.Link, who netip.Addr, at net.HardwareAddr) error {
	family := netlink.FAMILY_V4
	if who.Is6() {
		family = netlink.FAMILY_V6
	}
	err := n.NeighSet(&netlink.Neigh{
		LinkIndex: device.Attrs().Index, Family: family, State: netlink.NUD_PERMANENT, IP: who.AsSlice(), HardwareAddr: at,
	})
	if err != nil {
		return fmt.Errorf("neighbour %s: %w", who, err)
	}
	return nil
}

func network(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// device is the host's end of the link.
func (h *Host) device() string {
	if h.Name == "server" {
		return serverDevice
	}
	return clientDevice
}

// Alias gives a host the address after its own, of IPv6 or of IPv4, and makes it known to the
// other host.
func (l *Lab) Alias(h *Host, ipv6 bool) (netip.Addr, error) {
	a, bits, flags, peer := h.V4.Next(), 32, 0, l.Server
	if ipv6 {
		a, bits, flags = h.V6.Next(), 128, unix.IFA_F_NODAD
	}
	if h == l.Server {
		peer = l.Client
	}
	own, err := h.handle()
	if err != nil {
		return a, err
	}
	defer own.Close()
	link, err := own.LinkByName(h.device())
	if err != nil {
		return a, fmt.Errorf("%s: %w", h.device(), err)
	}
	if err := own.AddrAdd(link, &netlink.Addr{IPNet: network(netip.PrefixFrom(a, bits)), Flags: flags}); err != nil {
		return a, fmt.Errorf("address %s: %w", a, err)
	}
	theirs, err := peer.handle()
	if err != nil {
		return a, err
	}
	defer theirs.Close()
	device, err := theirs.LinkByName(peer.device())
	if err != nil {
		return a, fmt.Errorf("%s: %w", peer.device(), err)
	}
	return a, know(theirs, device, a, link.Attrs().HardwareAddr)
}

// Lose takes an address from the host.
func (h *Host) Lose(a netip.Addr) error {
	n, err := h.handle()
	if err != nil {
		return err
	}
	defer n.Close()
	link, err := n.LinkByName(h.device())
	if err != nil {
		return fmt.Errorf("%s: %w", h.device(), err)
	}
	if err := n.AddrDel(link, &netlink.Addr{IPNet: network(netip.PrefixFrom(a, a.BitLen()))}); err != nil {
		return fmt.Errorf("address %s: %w", a, err)
	}
	return nil
}
