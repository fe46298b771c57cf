// Package lab makes a private pair of hosts: two network namespaces with a link between
// them, addresses, and kernel settings of their own, while the host that it runs on stays
// as it is.
//
// A lab has no name anywhere: it lives in open files and processes, and when these are
// gone, however they went, the kernel takes it away.
package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Lab is a pair of hosts that reach each other and nobody else.
type Lab struct {
	Client, Server *Host
	// Link is what becomes of packets between them.
	Link Link
	// ToServer and ToClient are the gates of a gated link, else nil.
	ToServer, ToClient *Gate

	toServer, toClient *wire // nil where the kernel carries the packets
	devices            []*os.File
	carrying           sync.WaitGroup
	ended              chan struct{} // closed when nothing is to be carried any more
}

// Host is one of them: a network namespace.
type Host struct {
	// Name is client or server.
	Name string
	// V4 and V6 are its address in each family.
	V4, V6 netip.Addr
	// Sources are more addresses of it, of IPv4.
	Sources []netip.Addr

	namespace  *os.File
	filtered   bool   // packets are lost here by rules
	lostBefore uint64 // by rules that are no more
}

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

// New makes a lab. It needs CAP_SYS_ADMIN and CAP_NET_ADMIN, which Own gives to everybody
// where the kernel allows that.
func New(link Link) (*Lab, error) {
	l := &Lab{
		Link: link, ended: make(chan struct{}),
		Client: &Host{Name: "client", V4: clientV4.Addr(), V6: clientV6.Addr()},
		Server: &Host{Name: "server", V4: serverV4.Addr(), V6: serverV6.Addr()},
	}
	for a := firstSource; len(l.Client.Sources) < sourceCount; a = a.Next() {
		l.Client.Sources = append(l.Client.Sources, a)
	}
	if err := l.build(); err != nil {
		return nil, errors.Join(fmt.Errorf("make a lab: %w", err), l.Close())
	}
	return l, nil
}

// Close lets go of the lab. The kernel takes it away when its last process has ended.
func (l *Lab) Close() error {
	var errs []error
	if l.devices != nil {
		close(l.ended)
	}
	for _, d := range l.devices {
		errs = append(errs, d.Close())
	}
	l.devices = nil
	l.carrying.Wait()
	for _, h := range []*Host{l.Client, l.Server} {
		if h.namespace != nil {
			errs = append(errs, h.namespace.Close())
			h.namespace = nil
		}
	}
	return errors.Join(errs...)
}

// Enter moves the calling thread into the host's namespace. The goroutine must be locked
// to its thread, and must end without unlocking it: then the thread ends too.
func (h *Host) Enter() error {
	if err := unix.Setns(int(h.namespace.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter the lab's %s: %w", h.Name, os.NewSyscallError("setns", err))
	}
	return nil
}

// Do calls f on a thread in the host's namespace.
func (h *Host) Do(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := h.Enter()
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// newNamespace makes a network namespace that lives as long as the file is open.
func newNamespace() (*os.File, error) {
	type made struct {
		file *os.File
		err  error
	}
	done := make(chan made)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- made{nil, os.NewSyscallError("unshare", err)}
			return
		}
		f, err := os.Open("/proc/thread-self/ns/net")
		done <- made{f, err}
	}()
	m := <-done
	return m.file, m.err
}

// The names of the devices, each of its host.
const (
	clientDevice = "lab-c"
	serverDevice = "lab-s"
)

func (l *Lab) build() error {
	for _, h := range []*Host{l.Client, l.Server} {
		var err error
		if h.namespace, err = newNamespace(); err != nil {
			return refused(StepNamespace, err)
		}
	}
	client, err := netlink.NewHandleAt(netns.NsHandle(l.Client.namespace.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer client.Close()
	server, err := netlink.NewHandleAt(netns.NsHandle(l.Server.namespace.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer server.Close()
	// IPv6 addresses are there at once: nobody else can have them.
	for _, h := range []*Host{l.Client, l.Server} {
		if err := h.Do(func() error { return quickIPv6() }); err != nil {
			return err
		}
	}
	carried := l.Link.Gated || l.Link.delayed() && !hasNetem(client)
	if carried {
		err = l.layWires()
	} else {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = clientDevice
		err = client.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: serverDevice, PeerNamespace: netlink.NsFd(int(l.Server.namespace.Fd()))})
	}
	if err != nil {
		return fmt.Errorf("link the hosts: %w", err)
	}
	if err := configure(client, clientDevice, clientV4, clientV6, l.Client.Sources); err != nil {
		return fmt.Errorf("client: %w", err)
	}
	if err := configure(server, serverDevice, serverV4, serverV6, nil); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	if err := l.introduce(client, server, !carried); err != nil {
		return err
	}
	return l.impair(client, server)
}

// quickIPv6 turns off what a network with strangers needs.
func quickIPv6() error {
	for _, name := range []string{"accept_dad", "accept_ra", "router_solicitations"} {
		err := os.WriteFile("/proc/sys/net/ipv6/conf/default/"+name, []byte("0"), 0)
		if err != nil && !errors.Is(err, os.ErrNotExist) { // a kernel without IPv6
			return err
		}
	}
	return nil
}

// configure gives a host its addresses.
func configure(n *netlink.Handle, device string, v4, v6 netip.Prefix, more []netip.Addr) error {
	lo, err := n.LinkByName("lo")
	if err != nil {
		return err
	}
	if err := n.LinkSetUp(lo); err != nil {
		return err
	}
	link, err := n.LinkByName(device)
	if err != nil {
		return err
	}
	for _, p := range []netip.Prefix{v4, v6} {
		if err := n.AddrAdd(link, &netlink.Addr{IPNet: network(p)}); err != nil && p.Addr().Is4() {
			return fmt.Errorf("address %s: %w", p, err)
		}
	}
	for _, a := range more {
		if err := n.AddrAdd(link, &netlink.Addr{IPNet: network(netip.PrefixFrom(a, 32))}); err != nil {
			return fmt.Errorf("address %s: %w", a, err)
		}
	}
	if err := n.LinkSetUp(link); err != nil {
		return fmt.Errorf("%s: %w", device, err)
	}
	return nil
}

// introduce tells each host the other's link address, where they have any, so that no
// first packet waits for an answer to who has it, and the server the way to nobody.
func (l *Lab) introduce(client, server *netlink.Handle, addressed bool) error {
	c, err := client.LinkByName(clientDevice)
	if err != nil {
		return err
	}
	s, err := server.LinkByName(serverDevice)
	if err != nil {
		return err
	}
	way := &netlink.Route{LinkIndex: s.Attrs().Index, Dst: network(nobody)}
	if !addressed {
		return server.RouteAdd(way)
	}
	way.Gw = clientV4.Addr().AsSlice()
	know := func(n *netlink.Handle, device netlink.Link, who netip.Addr, at net.HardwareAddr) error {
		family := netlink.FAMILY_V4
		if who.Is6() {
			family = netlink.FAMILY_V6
		}
		return n.NeighSet(&netlink.Neigh{
			LinkIndex: device.Attrs().Index, Family: family, State: netlink.NUD_PERMANENT, IP: who.AsSlice(), HardwareAddr: at,
		})
	}
	if err := know(client, c, serverV4.Addr(), s.Attrs().HardwareAddr); err != nil {
		return err
	}
	for _, a := range append([]netip.Addr{l.Client.V4}, l.Client.Sources...) {
		if err := know(server, s, a, c.Attrs().HardwareAddr); err != nil {
			return err
		}
	}
	// Where the kernel has no IPv6 there is nobody to introduce.
	_ = know(client, c, serverV6.Addr(), s.Attrs().HardwareAddr)
	_ = know(server, s, clientV6.Addr(), c.Attrs().HardwareAddr)
	return server.RouteAdd(way)
}

func network(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
