package lab

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

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
