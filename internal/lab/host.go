package lab

import (
	"net/netip"
	"os"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"tcpbench/internal/machine"
	"tcpbench/internal/namespace"
	"tcpbench/internal/probe"
)

// Host is one end of a lab.
type Host struct {
	Name    string       // client or server
	V4, V6  netip.Addr   // its addresses; V6 is the zero Addr if the kernel has no IPv6
	Sources []netip.Addr // more IPv4 addresses

	*namespace.Network // nil until the lab is made
}

// handle opens a netlink socket in the host's namespace. netlink.NewHandleAt would have to bring its
// thread back, which root of a user namespace cannot do.
func (h *Host) handle() (n *netlink.Handle, err error) {
	err = h.Do(func() error {
		n, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	return n, probe.Refused(probe.StepSocket, err)
}

// tables makes a namespace whose children have their own table of TCP sockets. It is as large as the
// machine's, because the kernel derives defaults from its size. In the machine's table, a census and
// the removal of a lab would walk over the sockets of all namespaces; they do if the kernel is older
// than 6.1 or /proc/sys cannot be written.
func tables() (*namespace.Network, error) {
	n, err := namespace.New("parent of the lab", nil)
	if err != nil {
		return nil, err
	}
	return n, n.Do(func() error {
		text, err := os.ReadFile(machine.File("net.ipv4.tcp_ehash_entries"))
		if err != nil {
			return nil // an old kernel
		}
		size := strings.TrimLeft(strings.TrimSpace(string(text)), "-") // negative: it is shared
		_ = os.WriteFile(machine.File("net.ipv4.tcp_child_ehash_entries"), []byte(size), 0)
		return nil
	})
}
