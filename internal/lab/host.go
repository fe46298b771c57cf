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

// Host is one end of a lab: a network namespace.
type Host struct {
	// Name is client or server.
	Name string
	// V4 and V6 are its address in each family. V6 is the zero Addr if the kernel has no IPv6.
	V4, V6 netip.Addr
	// Sources are further addresses of it, of IPv4.
	Sources []netip.Addr

	*namespace.Network // nil until the lab is made
}

// handle opens a netlink socket in the host's namespace. netlink.NewHandleAt would have to
// bring its thread back, which root of a user namespace may not do.
func (h *Host) handle() (n *netlink.Handle, err error) {
	err = h.Do(func() error {
		n, err = netlink.NewHandle(unix.NETLINK_ROUTE)
		return err
	})
	return n, probe.Refused(probe.StepSocket, err)
}

// tables makes a namespace whose children have a table of TCP sockets of their own, as large as
// the machine's, so that the kernel's defaults that follow from its size stay the same. In the
// machine's table a census, and the end of a lab, walk over the sockets of all namespaces. Kernels
// before 6.1, and a /proc/sys that cannot be written, leave it at the machine's table.
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
