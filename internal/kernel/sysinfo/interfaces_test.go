package sysinfo

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"

	"tcpbench/internal/alone"
)

func TestInterfaces(t *testing.T) {
	if !alone.Namespace(t) {
		return
	}
	attrs := netlink.NewLinkAttrs()
	attrs.NumTxQueues, attrs.NumRxQueues, attrs.MTU = 3, 2, 1400
	targets, addresses := []string{"10.9.0.2:80"}, []string{"10.9.0.1/24"}
	if alone.IPv6(t) {
		targets, addresses = append(targets, "[2001:db8::2]:80"), append(addresses, "2001:db8::1/64")
	}
	alone.Veth(t, attrs, addresses...)
	at := func(target string) netip.AddrPort { return netip.MustParseAddrPort(target) }
	for _, target := range targets {
		all := Interfaces([]netip.AddrPort{at(target), at(target)})
		if len(all) != 1 {
			t.Fatalf("%s: %+v", target, all)
		}
		i := all[0]
		if i.Name != "v0" || i.Driver != "veth" || i.MTU != 1400 || i.RxQueues != 2 || i.TxQueues != 3 {
			t.Errorf("%s: %+v", target, i)
		}
		for _, name := range []string{"tso", "gso", "tx-checksum"} { // a veth has them by default
			if !slices.Contains(i.Offloads, name) {
				t.Errorf("%s: no %s among the offloads %v", target, name, i.Offloads)
			}
		}
	}
	for _, target := range []string{"127.0.0.1:80", "[::1]:80", "10.9.0.1:80", "192.0.2.1:80"} { // here, or not to be reached
		if all := Interfaces([]netip.AddrPort{at(target)}); all != nil {
			t.Errorf("%s: %+v", target, all)
		}
	}
}
