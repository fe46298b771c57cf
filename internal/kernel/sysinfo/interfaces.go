package sysinfo

import (
	"net"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"

	"tcpbench/metrics"

	"github.com/safchain/ethtool"
)

// Interfaces describes the devices by which this network namespace reaches targets on other hosts. What
// cannot be read is left out.
func Interfaces(targets []netip.AddrPort) []metrics.Interface {
	own, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var all []metrics.Interface
	for _, t := range targets {
		source, ok := sourceFor(t)
		if !ok || source == t.Addr().Unmap() {
			continue
		}
		for _, i := range own {
			known := slices.ContainsFunc(all, func(k metrics.Interface) bool { return k.Name == i.Name })
			if !known && i.Flags&net.FlagLoopback == 0 && has(&i, source) {
				all = append(all, describe(&i))
			}
		}
	}
	return all
}

// sourceFor is the address from which a target is reached. connect() of a UDP socket sends nothing.
func sourceFor(target netip.AddrPort) (netip.Addr, bool) {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(target))
	if err != nil {
		return netip.Addr{}, false
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), true
}

func has(i *net.Interface, a netip.Addr) bool {
	addrs, err := i.Addrs()
	if err != nil {
		return false
	}
	return slices.ContainsFunc(addrs, func(own net.Addr) bool {
		p, err := netip.ParsePrefix(own.String())
		return err == nil && p.Addr().Unmap() == a.WithZone("")
	})
}

// offloads are the features that a result lists, by how the kernel's names
// for them begin (net/ethtool/common.c): one is on if any such feature is.
var offloads = []struct{ name, feature string }{
	{"rx-checksum", "rx-checksum"}, {"tx-checksum", "tx-checksum-"}, {"tso", "tx-tcp"},
	{"gso", "tx-generic-segmentation"}, {"gro", "rx-gro"}, {"lro", "rx-lro"},
}

func describe(i *net.Interface) metrics.Interface {
	d := metrics.Interface{Name: i.Name, MTU: i.MTU, Offloads: []string{}}
	root, dir := files("/"), path.Join("sys/class/net", i.Name)
	// What is mounted there may show another namespace's devices.
	if root.text(path.Join(dir, "ifindex")) == strconv.Itoa(i.Index) {
		if n, err := strconv.Atoi(root.text(path.Join(dir, "speed"))); err == nil && n > 0 {
			d.Speed = n
		}
		d.RxQueues = len(root.glob(path.Join(dir, "queues/rx-*/rps_cpus")))
		d.TxQueues = len(root.glob(path.Join(dir, "queues/tx-*/xps_cpus")))
	}
	e, err := ethtool.NewEthtool()
	if err != nil {
		return d
	}
	defer e.Close()
	d.Driver, _ = e.DriverName(i.Name) // empty if the driver does not say
	if c, err := e.GetChannels(i.Name); err == nil {
		d.RxQueues, d.TxQueues = int(c.RxCount+c.CombinedCount), int(c.TxCount+c.CombinedCount)
	}
	features, err := e.Features(i.Name)
	if err != nil {
		return d
	}
	for _, o := range offloads {
		for name, on := range features {
			if on && strings.HasPrefix(name, o.feature) {
				d.Offloads = append(d.Offloads, o.name)
				break
			}
		}
	}
	return d
}
