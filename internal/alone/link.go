package alone

import (
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tcpbench/internal/namespace"
)

// Unplug deletes a device of the calling thread's network namespace, and with it its peer.
func Unplug(device string) error {
	l, err := netlink.LinkByName(device)
	if err != nil {
		return err
	}
	return netlink.LinkDel(l)
}

// Veth makes a pair of interfaces that are up, v0 and v1, in the test's namespace. The properties
// and addresses are those of v0.
func Veth(t testing.TB, attrs netlink.LinkAttrs, addresses ...string) {
	t.Helper()
	attrs.Name = "v0"
	must(t, "add v0 and v1", netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "v1"}))
	v0, v1 := link(t, "v0"), link(t, "v1")
	for _, a := range addresses {
		address(t, v0, a)
	}
	must(t, "set v0 up", netlink.LinkSetUp(v0))
	must(t, "set v1 up", netlink.LinkSetUp(v1))
}

// Address adds an address, such as 10.9.0.1/24, to an interface. remove deletes it.
func Address(t testing.TB, of, prefix string) (remove func()) {
	t.Helper()
	l := link(t, of)
	a := address(t, l, prefix)
	return func() {
		t.Helper()
		must(t, "delete "+prefix+" of "+of, netlink.AddrDel(l, a))
	}
}

// Silence makes segments to an address on the network of v0 disappear without an answer: its
// neighbour entry is a hardware address that no interface has.
func Silence(t testing.TB, a string) {
	t.Helper()
	nobody := net.HardwareAddr{2, 0, 0, 0, 0, 99}
	must(t, "add a neighbour "+a, netlink.NeighSet(&netlink.Neigh{
		LinkIndex: link(t, "v0").Attrs().Index, State: netlink.NUD_PERMANENT, IP: net.ParseIP(a), HardwareAddr: nobody,
	}))
}

// Route adds a route without a gateway, of a type such as unix.RTN_BLACKHOLE.
func Route(t testing.TB, to string, kind int) {
	t.Helper()
	_, network, err := net.ParseCIDR(to)
	must(t, "parse a route", err)
	must(t, "add the route "+to, netlink.RouteAdd(&netlink.Route{Dst: network, Type: kind}))
}

// Beyond moves v1 to another namespace and gives it an address: a second host, which refuses all
// connections.
func Beyond(t testing.TB, prefix string) {
	t.Helper()
	v1 := link(t, "v1")
	n, err := namespace.New("second host", nil)
	must(t, "make a second host", err)
	t.Cleanup(func() { n.Close() })
	must(t, "move v1", netlink.LinkSetNsFd(v1, n.Fd()))
	must(t, "make a second host", n.Do(func() error { return bringUp(v1.Attrs().Name, prefix) }))
}

// bringUp gives an interface of the thread's namespace an address.
func bringUp(name, prefix string) error {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr(prefix)
	if err != nil {
		return err
	}
	if err := netlink.AddrAdd(l, a); err != nil {
		return err
	}
	return netlink.LinkSetUp(l)
}

func link(t testing.TB, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	must(t, "find the interface "+name, err)
	return l
}

func address(t testing.TB, l netlink.Link, prefix string) *netlink.Addr {
	t.Helper()
	a, err := netlink.ParseAddr(prefix)
	must(t, "parse an address", err)
	if netip.MustParsePrefix(prefix).Addr().Is6() {
		a.Flags = unix.IFA_F_NODAD // usable at once
	}
	must(t, "add "+prefix+" to "+l.Attrs().Name, netlink.AddrAdd(l, a))
	return a
}

func must(t testing.TB, doing string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", doing, err)
	}
}
