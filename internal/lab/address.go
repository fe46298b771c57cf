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

// The network of every lab is in 198.18.0.0/15, which is reserved for measurements (RFC 2544,
// section 12), and in a local range of IPv6 (RFC 4193).
var (
	clientV4 = netip.MustParsePrefix("198.18.0.1/16")
	serverV4 = netip.MustParsePrefix("198.18.255.1/16")
	clientV6 = netip.MustParsePrefix("fd00:18::1/64")
	serverV6 = netip.MustParsePrefix("fd00:18::ff:1/64")
	// firstSource is the first of the client's further addresses.
	firstSource = netip.MustParseAddr("198.18.1.1")
	// nobody is a block that the server routes to the client, which has none of its addresses:
	// packets to them vanish.
	nobody = netip.MustParsePrefix("198.19.0.0/16")
)

const sourceCount = 254

// settle gives the hosts their addresses and makes them known to each other.
func (l *Lab) settle(client, server *netlink.Handle) error {
	c, err := l.Client.settle(client, clientV4, clientV6)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	s, err := l.Server.settle(server, serverV4, serverV6)
	if err != nil {
		return fmt.Errorf("server: %w", err)
	}
	if !l.Client.V6.IsValid() || !l.Server.V6.IsValid() {
		l.Client.V6, l.Server.V6 = netip.Addr{}, netip.Addr{}
	}
	return l.introduce(client, server, c, s)
}

// settle gives a host its addresses. It does not write to /proc/sys, which may be read-only in a
// container.
func (h *Host) settle(n *netlink.Handle, v4, v6 netip.Prefix) (netlink.Link, error) {
	if err := up(n, "lo"); err != nil {
		return nil, err
	}
	link, err := h.link(n)
	if err != nil {
		return nil, err
	}
	if err := h.settleV6(n, link, v6); err != nil {
		return nil, err
	}
	if err := add(n, link, v4, 0); err != nil {
		return nil, err
	}
	for _, a := range h.Sources {
		if err := add(n, link, netip.PrefixFrom(a, 32), 0); err != nil {
			return nil, err
		}
	}
	return link, up(n, h.device())
}

// settleV6 gives a host its IPv6 address, usable at once: without duplicate address detection
// (IFA_F_NODAD). Without a link-local address the host does not look for routers. If the kernel has
// no IPv6, the host is left without V6.
func (h *Host) settleV6(n *netlink.Handle, link netlink.Link, v6 netip.Prefix) error {
	err := n.LinkSetIP6AddrGenMode(link, nl.IN6_ADDR_GEN_MODE_NONE)
	if err == nil {
		err = add(n, link, v6, unix.IFA_F_NODAD)
	}
	if withoutV6(err) {
		h.V6 = netip.Addr{}
		return nil
	}
	return err
}

// withoutV6 tells whether an error means that IPv6 is not built in, disabled at boot
// (EAFNOSUPPORT, EOPNOTSUPP), or disabled by the sysctl disable_ipv6 (EACCES).
func withoutV6(err error) bool {
	return errors.Is(err, unix.EAFNOSUPPORT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EACCES)
}

func add(n *netlink.Handle, link netlink.Link, a netip.Prefix, flags int) error {
	if err := n.AddrAdd(link, &netlink.Addr{IPNet: network(a), Flags: flags}); err != nil {
		return fmt.Errorf("address %s: %w", a, err)
	}
	return nil
}

func network(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

func find(n *netlink.Handle, device string) (netlink.Link, error) {
	link, err := n.LinkByName(device)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", device, err)
	}
	return link, nil
}

func up(n *netlink.Handle, device string) error {
	link, err := find(n, device)
	if err != nil {
		return err
	}
	if err := n.LinkSetUp(link); err != nil {
		return fmt.Errorf("%s: %w", device, err)
	}
	return nil
}

// quiet keeps a device from sending packets of its own: no ARP and no neighbour discovery, so
// no reports of multicast groups either. The hosts know each other (introduce).
func quiet(n *netlink.Handle, device string) error {
	link, err := find(n, device)
	if err != nil {
		return err
	}
	if err := n.LinkSetIP6AddrGenMode(link, nl.IN6_ADDR_GEN_MODE_NONE); err != nil && !withoutV6(err) {
		return fmt.Errorf("%s: no link-local address: %w", device, err)
	}
	if err := n.LinkSetARPOff(link); err != nil {
		return fmt.Errorf("%s: no ARP: %w", device, err)
	}
	return nil
}

// carrierPatience bounds the wait for devices whose peers are up.
const carrierPatience = 5 * time.Second

// awaitCarrier waits until all devices of the lab can send. If a peer comes up after a device, the
// kernel gives the device its queue a moment later (net/core/link_watch.c), and drops every frame
// until then. Since Linux 6.8 a look at the device is enough.
func awaitCarrier(client, server, between *netlink.Handle) error {
	ends := []struct {
		in   *netlink.Handle
		name string
	}{{client, clientDevice}, {server, serverDevice}}
	if between != nil {
		ends = append(ends, ends...)
		ends[2].in, ends[3].in = between, between
	}
	for _, d := range ends {
		for deadline := time.Now().Add(carrierPatience); ; time.Sleep(time.Millisecond) {
			link, err := find(d.in, d.name)
			if err != nil {
				return err
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

// introduce tells each host the other's link address, so that no first packet waits for ARP, and
// the server the route to nobody.
func (l *Lab) introduce(client, server *netlink.Handle, c, s netlink.Link) error {
	ofServer, ofClient := []netip.Addr{l.Server.V4}, append([]netip.Addr{l.Client.V4}, l.Client.Sources...)
	if l.Server.V6.IsValid() {
		ofServer, ofClient = append(ofServer, l.Server.V6), append(ofClient, l.Client.V6)
	}
	for _, a := range ofServer {
		if err := know(client, c, a, s); err != nil {
			return err
		}
	}
	for _, a := range ofClient {
		if err := know(server, s, a, c); err != nil {
			return err
		}
	}
	return server.RouteAdd(&netlink.Route{LinkIndex: s.Attrs().Index, Dst: network(nobody), Gw: clientV4.Addr().AsSlice()})
}

// know tells a host that an address is at another's device.
func know(n *netlink.Handle, own netlink.Link, who netip.Addr, at netlink.Link) error {
	family := netlink.FAMILY_V4
	if who.Is6() {
		family = netlink.FAMILY_V6
	}
	err := n.NeighSet(&netlink.Neigh{
		LinkIndex: own.Attrs().Index, Family: family, State: netlink.NUD_PERMANENT, IP: who.AsSlice(), HardwareAddr: at.Attrs().HardwareAddr,
	})
	if err != nil {
		return fmt.Errorf("neighbour %s: %w", who, err)
	}
	return nil
}

// device is the host's end of the link.
func (h *Host) device() string {
	if h.Name == "server" {
		return serverDevice
	}
	return clientDevice
}

func (h *Host) link(n *netlink.Handle) (netlink.Link, error) { return find(n, h.device()) }

// Alias gives a host a second address, the one after its own, and makes it known to the other host.
func (l *Lab) Alias(h *Host, ipv6 bool) (netip.Addr, error) {
	a, flags, peer := h.V4.Next(), 0, l.Server
	if ipv6 {
		a, flags = h.V6.Next(), unix.IFA_F_NODAD
	}
	if h == l.Server {
		peer = l.Client
	}
	own, err := h.handle()
	if err != nil {
		return a, err
	}
	defer own.Close()
	theirs, err := peer.handle()
	if err != nil {
		return a, err
	}
	defer theirs.Close()
	link, err := h.link(own)
	if err != nil {
		return a, err
	}
	device, err := peer.link(theirs)
	if err != nil {
		return a, err
	}
	if err := add(own, link, netip.PrefixFrom(a, a.BitLen()), flags); err != nil {
		return a, err
	}
	return a, know(theirs, device, a, link)
}

// Lose takes an address from the host.
func (h *Host) Lose(a netip.Addr) error {
	n, err := h.handle()
	if err != nil {
		return err
	}
	defer n.Close()
	link, err := h.link(n)
	if err != nil {
		return err
	}
	if err := n.AddrDel(link, &netlink.Addr{IPNet: network(netip.PrefixFrom(a, a.BitLen()))}); err != nil {
		return fmt.Errorf("address %s: %w", a, err)
	}
	return nil
}
